// What the JavaScript of a chapter of the guide finds on every Node: a WebSocket, and standard output for its own
// lines, because the library logs to the console as well.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
