// Prepares Node for the JavaScript of a chapter of the guide: provides a WebSocket, and redirects
// the logs of the library, so that only the lines of the chapter are on standard output.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
