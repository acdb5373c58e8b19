// Prepares Node.js for the JavaScript code of the guide: provides a WebSocket, and redirects the
// logs of the library, so that only the output of the chapter is on standard output.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
