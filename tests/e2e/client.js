// The official socket.io-client against the application of app.py, one conversation after another.
//
//   node client.js '{"url": "http://127.0.0.1:5000", "mode": "polling" | "websocket" | "upgrade", "only": [names]}'
//                   and "parser": the package of another parser, where the server speaks another form of packets
//   node client.js --list
//
// Prints one line of JSON per conversation: {"name", "ok", "error", "ms"}. Each has its own sockets, closed at its end.
"use strict";

const assert = require("node:assert/strict");
const { io, Manager } = require("socket.io-client");

const SECONDS = 1000;
const PATIENCE = Number(process.env.E2E_PATIENCE ?? 20) * SECONDS; // for one conversation; generous: two cores may be busy
const TRANSPORTS = {
  polling: { transports: ["polling"], upgrade: false },
  websocket: { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

// ---------------------------------------------------------------------------------------------------------- helpers

const once = (emitter, event) =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

const collect = (socket, event, count) =>
  new Promise((resolve) => {
    const seen = [];
    socket.on(event, (...args) => {
      seen.push(args);
      if (seen.length === count) resolve(seen);
    });
  });

const ask = (socket, ...args) => socket.timeout(PATIENCE).emitWithAck(...args);

// A round trip on the same connection: whatever the server sent before is here when it returns.
const settle = (socket) => ask(socket, "ask", "settle");

class Visit {
  constructor(url, mode) {
    this.url = url;
    this.mode = mode;
    this.sockets = [];
  }

  open(namespace = "/", options = {}) {
    const socket = io(this.url + namespace, {
      ...TRANSPORTS[this.mode],
      forceNew: true,
      reconnection: false,
      ...options,
    });
    this.sockets.push(socket);
    return socket;
  }

  async connect(namespace = "/", options = {}) {
    const socket = this.open(namespace, options);
    await this.connected(socket);
    return socket;
  }

  async connected(socket) {
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", (error) => reject(new Error(`connect_error: ${error.message}`)));
    });
    const engine = socket.io.engine;
    if (this.mode === "upgrade" && engine.transport.name !== "websocket") await once(engine, "upgrade");
  }

  async get(path) {
    return (await fetch(this.url + path)).json();
  }

  async post(path, body) {
    const reply = await fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
    assert.equal(reply.status, 200);
    return reply.text();
  }

  close() {
    for (const socket of this.sockets) {
      socket.disconnect();
      socket.io.engine?.close();
    }
  }
}

// A departure is told by the disconnect handler, which runs after the client has gone: ask until it is there.
async function departure(visit, sid) {
  for (;;) {
    const found = (await visit.get("/state")).departures.find((entry) => entry[0] === sid);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// --------------------------------------------------------------------------------------------------- conversations

const conversations = {
  async connects(visit) {
    const socket = await visit.connect();
    assert.equal(socket.id.length, 20);
    assert.notEqual(socket.id, socket.io.engine.id);
    assert.equal(socket.io.engine.transport.name, visit.mode === "polling" ? "polling" : "websocket");
    assert.equal((await visit.get("/state")).connected[socket.id], "/");
  },

  async "events both ways"(visit) {
    const socket = await visit.connect();
    const echoed = collect(socket, "echoed", 3);
    socket.emit("echo", "text", 7, -1.5, true, null);
    socket.emit("echo");
    socket.emit("echo", [1, [2]], {});
    assert.deepEqual(await echoed, [["text", 7, -1.5, true, null], [], [[1, [2]], {}]]);
  },

  async "send and its two event names"(visit) {
    const socket = await visit.connect();
    const text = once(socket, "message");
    socket.send("plain");
    assert.deepEqual(await text, ["plain"]);
    const json = once(socket, "json");
    socket.emit("json", { a: [1] });
    assert.deepEqual(await json, [{ a: [1] }]);
  },

  async "acks from the server"(visit) {
    const socket = await visit.connect();
    const several = new Promise((resolve) => socket.emit("ask", 1, "zwei", [3], (...args) => resolve(args)));
    assert.deepEqual(await several, [1, "zwei", [3]]);
    const none = new Promise((resolve) => socket.emit("echo", (...args) => resolve(args)));
    assert.deepEqual(await none, []);
    const many = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(socket, "ask", n)));
    assert.deepEqual(many, Array.from({ length: 50 }, (_, n) => n));
  },

  async "acks from the client"(visit) {
    const socket = await visit.connect();
    socket.on("question", (...args) => args.pop()("answer to", ...args));
    const said = once(socket, "you said");
    socket.emit("question me", 6, { times: 7 });
    assert.deepEqual(await said, ["answer to", 6, { times: 7 }]);
  },

  async "call waits for the client's answer"(visit) {
    const socket = await visit.connect();
    socket.on("question", (...args) => args.pop()("answer to", ...args));
    assert.deepEqual(await ask(socket, "call me", "a", 1), ["answer to", "a", 1]);
  },

  async unicode(visit) {
    const socket = await visit.connect();
    const texts = ["é€", "日本語", "😀👩‍👩‍👧", "\u0000\u001e\u001f", "\u2028\u2029", '"\\\n\t', "x".repeat(300) + "é"];
    for (const text of texts) assert.equal(await ask(socket, "ask", text), text);
    const echoed = once(socket, "echoed");
    socket.emit("echo", { "schlüssel 🔑": texts });
    assert.deepEqual(await echoed, [{ "schlüssel 🔑": texts }]);
  },

  async "nested data"(visit) {
    const socket = await visit.connect();
    let deep = { leaf: [1, 2.5, "three", null, false] };
    for (let level = 0; level < 30; level++) deep = level % 2 ? { level, deep } : [level, deep];
    assert.deepEqual(await ask(socket, "ask", deep), deep);
  },

  async numbers(visit) {
    const socket = await visit.connect();
    const numbers = [0, -0.5, 1e21, 2 ** 53 - 1, -(2 ** 53 - 1), 1e-7, 0.1 + 0.2, 123456789.123];
    assert.deepEqual(await ask(socket, "ask", numbers), numbers);
  },

  async "binary both ways"(visit) {
    const socket = await visit.connect();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
    assert.deepEqual(await ask(socket, "kinds", bytes, "x"), ["bytes", "str"]);
    const echoed = once(socket, "echoed");
    socket.emit("echo", bytes, Buffer.alloc(0));
    const [first, second] = await echoed;
    assert.deepEqual(Buffer.from(first), bytes);
    assert.equal(Buffer.from(second).length, 0);
  },

  async "nested binary, also in acks"(visit) {
    const socket = await visit.connect();
    const sent = { a: [Buffer.from("one"), { b: Buffer.from("two") }], c: "no binary", d: Buffer.from("three") };
    assert.deepEqual(await ask(socket, "ask", sent), sent);
    socket.on("question", (value, reply) => reply({ back: value.d }));
    assert.deepEqual(await ask(socket, "call me", sent), { back: Buffer.from("three") });
  },

  async "text and binary keep their order"(visit) {
    const socket = await visit.connect();
    const echoed = collect(socket, "echoed", 100);
    for (let n = 0; n < 100; n++) socket.emit("echo", n, n % 3 ? "text" : Buffer.from(`binary ${n}`));
    const seen = await echoed;
    assert.deepEqual(seen.map(([n]) => n), Array.from({ length: 100 }, (_, n) => n));
    assert.deepEqual(Buffer.from(seen[99][1]), Buffer.from("binary 99"));
  },

  async "namespaces on one connection"(visit) {
    const manager = new Manager(visit.url, { ...TRANSPORTS[visit.mode], reconnection: false });
    const [root, other] = [manager.socket("/"), manager.socket("/other")];
    visit.sockets.push(root, other);
    await Promise.all([visit.connected(root), once(other, "connect")]);
    assert.notEqual(root.id, other.id);
    root.on("echoed", () => assert.fail("the answer went to the wrong namespace"));
    const echoed = once(other, "echoed");
    other.emit("echo", "here");
    assert.deepEqual(await echoed, ["here"]);
    assert.equal((await visit.get("/state")).connected[other.id], "/other");
  },

  async "a namespace can be left and joined again"(visit) {
    const manager = new Manager(visit.url, { ...TRANSPORTS[visit.mode], reconnection: false });
    const [root, other] = [manager.socket("/"), manager.socket("/other")];
    visit.sockets.push(root, other);
    await Promise.all([visit.connected(root), once(other, "connect")]);
    const first = other.id;
    other.disconnect();
    assert.deepEqual(await departure(visit, first), [first, "/other", "client disconnect"]);
    assert.equal(await ask(root, "ask", "still here"), "still here");
    other.connect();
    await once(other, "connect");
    assert.notEqual(other.id, first);
    assert.equal(await ask(other, "ask", "again"), "again");
  },

  async "an unknown namespace is refused"(visit) {
    const [error] = await once(visit.open("/nobody"), "connect_error");
    assert.equal(error.message, "Invalid namespace");
  },

  async "a class-based namespace gets the auth"(visit) {
    const socket = visit.open("/class", { auth: { token: "ä" } });
    const hello = once(socket, "hello");
    await once(socket, "connect");
    assert.deepEqual(await hello, [{ token: "ä" }]);
    assert.equal(await ask(socket, "add", 1, 2, 3), 6);
    assert.equal(await ask(socket, "no such method"), undefined);
  },

  async "an emit in the connect handler arrives"(visit) {
    const socket = visit.open("/greeting", { query: { q: "ü&=" } });
    const greeting = once(socket, "greeting");
    await once(socket, "connect");
    assert.deepEqual(await greeting, [{ sid: socket.id, query: "ü&=" }]);
  },

  async "a handler knows the request"(visit) {
    const socket = await visit.connect("/", { query: { q: "42" } });
    assert.deepEqual(await ask(socket, "where"), [socket.id, "/", "where", "42"]);
  },

  async "refusals carry message and data"(visit) {
    const refused = async (kind) => (await once(visit.open("/guarded", { auth: { kind } }), "connect_error"))[0];
    const plain = await refused("false");
    assert.deepEqual([plain.message, plain.data], ["Connection rejected by server", undefined]);
    assert.equal((await refused("message")).message, "not today");
    const data = await refused("data");
    assert.deepEqual([data.message, data.data], ["no room", { free: 0, näxt: "☃" }]);
    assert.deepEqual((await refused("many")).data, [1, [2]]);
  },

  async "who was refused may try again on the same connection"(visit) {
    const manager = new Manager(visit.url, { ...TRANSPORTS[visit.mode], reconnection: false });
    const [root, guarded] = [manager.socket("/"), manager.socket("/guarded", { auth: { kind: "message" } })];
    visit.sockets.push(root, guarded);
    await Promise.all([visit.connected(root), once(guarded, "connect_error")]);
    const engine = manager.engine.id;
    guarded.auth = {};
    guarded.connect();
    await once(guarded, "connect");
    assert.equal(manager.engine.id, engine);
    assert.equal(await ask(guarded, "ask", 1), 1);
  },

  async rooms(visit) {
    const [a, b, c] = await Promise.all([visit.connect(), visit.connect(), visit.connect()]);
    const room = `room ${a.id}`;
    const heard = { a: [], b: [], c: [] };
    for (const [name, socket] of Object.entries({ a, b, c })) socket.on("said", (...args) => heard[name].push(...args));
    assert.deepEqual(await ask(a, "join", room), [room]);
    assert.deepEqual(await ask(b, "join", room), [room]);
    assert.deepEqual(await ask(b, "join", `${room} 2`), [room, `${room} 2`]);
    await ask(c, "say", { to: room }, "to the room");
    await ask(c, "say", { to: [room, `${room} 2`] }, "to two rooms");
    await ask(a, "say", { to: room, include_self: false }, "not to me");
    assert.deepEqual(await ask(b, "leave", room), [`${room} 2`]);
    await ask(c, "say", { to: room }, "a alone");
    await ask(c, "close room", room);
    await ask(c, "say", { to: room }, "nobody");
    await Promise.all([settle(a), settle(b), settle(c)]);
    assert.deepEqual(heard, {
      a: ["to the room", "to two rooms", "a alone"],
      b: ["to the room", "to two rooms", "not to me"],
      c: [],
    });
  },

  async "rooms of two namespaces are two rooms"(visit) {
    const [root, other] = await Promise.all([visit.connect(), visit.connect("/other")]);
    const room = `room ${root.id}`;
    const heard = [];
    other.on("said", () => heard.push("other"));
    root.on("said", () => heard.push("root"));
    await ask(root, "join", room);
    await visit.post("/emit", { event: "said", options: { namespace: "/other", to: room } });
    await visit.post("/emit", { event: "said", options: { to: room } });
    await Promise.all([settle(root), settle(other)]);
    assert.deepEqual(heard, ["root"]);
  },

  async "broadcast with and without the sender"(visit) {
    const [a, b] = await Promise.all([visit.connect(), visit.connect()]);
    const word = `word of ${a.id}`;
    const heard = { a: [], b: [] };
    const listen = (name) => (said, how) => said === word && heard[name].push(how);
    a.on("said", listen("a"));
    b.on("said", listen("b"));
    await ask(a, "say", { broadcast: true }, word, "all");
    await ask(a, "say", { broadcast: true, include_self: false }, word, "others");
    await ask(a, "say", { to: b.id }, word, "b alone");
    await ask(a, "say", { broadcast: true, skip_sid: b.id }, word, "not b");
    await ask(a, "say", {}, word, "sender");
    await Promise.all([settle(a), settle(b)]);
    assert.deepEqual(heard, { a: ["all", "not b", "sender"], b: ["all", "others", "b alone"] });
  },

  async "a broadcast with binary reaches everybody"(visit) {
    const sockets = await Promise.all(Array.from({ length: 5 }, () => visit.connect()));
    const word = `bytes of ${sockets[0].id}`;
    const heard = sockets.map(
      (socket) => new Promise((resolve) => socket.on("said", (said, data) => said === word && resolve(data))),
    );
    sockets[0].emit("say", { broadcast: true }, word, Buffer.from([1, 2, 3]));
    for (const data of await Promise.all(heard)) assert.deepEqual(Buffer.from(data), Buffer.from([1, 2, 3]));
  },

  async "an HTTP view emits to everybody"(visit) {
    const [a, b] = await Promise.all([visit.connect(), visit.connect()]);
    const word = `view ${a.id}`;
    const hear = (socket) =>
      new Promise((resolve) => socket.on("news", (data) => data.word === word && resolve(true)));
    const heard = [hear(a), hear(b)];
    await visit.post("/emit", { event: "news", data: { word } });
    await Promise.all(heard);
  },

  async "the server disconnects"(visit) {
    const socket = await visit.connect();
    const sid = socket.id;
    const gone = once(socket, "disconnect");
    socket.emit("kick me");
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await departure(visit, sid), [sid, "/", "server disconnect"]);
  },

  async "one client has another disconnected"(visit) {
    const [a, b] = await Promise.all([visit.connect(), visit.connect()]);
    const sid = b.id;
    const gone = once(b, "disconnect");
    await ask(a, "kick", sid);
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await departure(visit, sid), [sid, "/", "server disconnect"]);
    assert.equal(await ask(a, "ask", "still here"), "still here");
  },

  async "the client disconnects"(visit) {
    const socket = await visit.connect();
    const sid = socket.id;
    socket.disconnect();
    assert.deepEqual(await departure(visit, sid), [sid, "/", "client disconnect"]);
  },

  async "the connection drops"(visit) {
    const socket = await visit.connect();
    const sid = socket.id;
    socket.io.engine.close();
    const [, namespace, reason] = await departure(visit, sid);
    assert.equal(namespace, "/");
    assert.ok(["client disconnect", "transport close"].includes(reason), reason);
  },

  async "500 KB both ways"(visit) {
    const socket = await visit.connect();
    const text = "0123456789é".repeat(41_000);
    assert.ok(Buffer.byteLength(text) > 490_000);
    assert.equal(await ask(socket, "ask", text), text);
    const bytes = Buffer.alloc(500_000, "binary");
    assert.deepEqual(await ask(socket, "ask", bytes), bytes);
    const big = collect(socket, "big", 2);
    socket.emit("big please", 500_000);
    const [[letters], [zeros]] = await big;
    assert.equal(letters.length, 500_000);
    assert.equal(zeros.length, 500_000);
  },

  async "1,000 messages in order"(visit) {
    const socket = await visit.connect();
    const expected = Array.from({ length: 1000 }, (_, n) => [n]);
    const numbers = collect(socket, "number", 1000);
    socket.emit("numbers please", 1000);
    assert.deepEqual(await numbers, expected);
    const echoed = collect(socket, "echoed", 1000);
    for (let n = 0; n < 1000; n++) socket.emit("echo", n);
    assert.deepEqual(await echoed, expected);
  },

  async "emits of fifty foreign threads arrive, each thread's in its order"(visit) {
    const [threads, each] = [50, 20];
    const socket = await visit.connect();
    const heard = collect(socket, "from thread", threads * each);
    await visit.post(`/threads/${socket.id}/${threads}/${each}`);
    const orders = Array.from({ length: threads }, () => []);
    for (const [thread, index] of await heard) orders[thread].push(index);
    for (const order of orders) assert.deepEqual(order, Array.from({ length: each }, (_, n) => n));
  },

  async "two threads never mix their attachments"(visit) {
    const [threads, each] = [2, 500];
    const socket = await visit.connect();
    const heard = collect(socket, "from thread", threads * each);
    await visit.post(`/binary-threads/${socket.id}/${threads}/${each}`);
    const next = [0, 0];
    for (const [{ is: [thread, index], first, rest }] of await heard) {
      assert.equal(index, next[thread]++);
      assert.deepEqual([first, ...rest].map(String), [`${thread}.${index}.0`, `${thread}.${index}.1`]);
    }
    assert.deepEqual(next, [each, each]);
  },

  async "traffic from the first moment on"(visit) {
    const socket = visit.open();
    const echoed = collect(socket, "echoed", 300);
    for (let n = 0; n < 300; n++) {
      socket.emit("echo", n);
      if (n % 30 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.deepEqual(await echoed, Array.from({ length: 300 }, (_, n) => [n]));
  },

  async "reconnects after a loss"(visit) {
    const socket = await visit.connect("/", { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 20 });
    const sid = socket.id;
    const again = once(socket, "connect");
    socket.io.engine.close();
    socket.emit("echo", "sent while away");
    const echoed = once(socket, "echoed");
    await again;
    assert.notEqual(socket.id, sid);
    assert.deepEqual(await echoed, ["sent while away"]);
    await departure(visit, sid);
  },

  async "fifty clients at once"(visit) {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => visit.connect()));
    assert.equal(new Set(sockets.map((socket) => socket.id)).size, 50);
    const answers = await Promise.all(sockets.map((socket, n) => ask(socket, "ask", n)));
    assert.deepEqual(answers, Array.from({ length: 50 }, (_, n) => n));
  },
};

// ------------------------------------------------------------------------------------------------------------- main

async function hold(name, url, mode) {
  const visit = new Visit(url, mode);
  const began = Date.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not finished after ${PATIENCE / SECONDS} s`)), PATIENCE);
  });
  try {
    await Promise.race([conversations[name](visit), late]);
    return { name, ok: true, error: null, ms: Date.now() - began };
  } catch (error) {
    return { name, ok: false, error: String(error.stack ?? error), ms: Date.now() - began };
  } finally {
    clearTimeout(timer);
    visit.close();
  }
}

async function main() {
  if (process.argv[2] === "--list") {
    console.log(JSON.stringify(Object.keys(conversations)));
    return;
  }
  const { url, mode, only, parser } = JSON.parse(process.argv[2]);
  if (parser) TRANSPORTS[mode].parser = require(parser);
  for (const name of only ?? Object.keys(conversations)) console.log(JSON.stringify(await hold(name, url, mode)));
}

// A conversation may leave a rejected promise behind when it fails early; its own line already says what went wrong.
process.on("unhandledRejection", (error) => console.error(String(error)));
main().then(() => process.exit(0));
