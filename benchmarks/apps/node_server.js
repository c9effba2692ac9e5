// Node's socket.io with the events that benchmarks/apps/__init__.py lists.
// socket.io is looked up in the directory named by BENCHMARK_NODE_MODULES, else where the harness installs it.
"use strict";

const http = require("node:http");
const path = require("node:path");
const { createRequire } = require("node:module");

const installed =
  process.env.BENCHMARK_NODE_MODULES || path.join(__dirname, "..", "..", ".cache", "benchmarks", "node", "node_modules");
const { Server } = createRequire(path.join(installed, "here.js"))("socket.io");

const portArgument = process.argv.indexOf("--port");
const port = portArgument < 0 ? 0 : Number(process.argv[portArgument + 1]);

const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Content-Length": 2 });
  response.end("ok");
});
const io = new Server(server);

io.on("connection", (socket) => {
  socket.on("echo", (text) => socket.emit("echo", text));
  socket.on("async_echo", async (text) => socket.emit("async_echo", text));
  socket.on("ack", (text, reply) => reply(text));
  socket.on("fan", (number, text) => io.emit("fan", number, text));
});

server.listen(port, "127.0.0.1", () => console.log(`PORT ${server.address().port} PID ${process.pid}`));
