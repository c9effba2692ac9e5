// Two tabs of a real Chromium chat with each other; test_app.py runs this.
//
//   node test_browser.js '{"url": ..., "chromium": path, "profile": an empty folder}'
"use strict";

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox", // CI runs as root
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PATIENCE = 30_000;

async function enter(context, url, name, room) {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => {
    throw error;
  });
  await tab.goto(url);
  await tab.fill("#name", name);
  await tab.fill("#first-room", room);
  await tab.click("#door button");
  await tab.waitForSelector("#state[data-state=online]");
  return tab;
}

const lines = (tab, selector) => tab.locator(selector).allTextContents();

async function until(what, check) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const seen = await check();
    if (seen === true) return;
    if (Date.now() > deadline) assert.fail(`${what}: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const shows = (tab, selector, expected) =>
  until(`${selector} shows ${JSON.stringify(expected)}`, async () => {
    const seen = await lines(tab, selector);
    return JSON.stringify(seen) === JSON.stringify(expected) || seen;
  });

async function visitWithoutClient(context, url) {
  const tab = await context.newPage();
  const failures = [];
  tab.on("pageerror", (error) => failures.push(String(error)));
  await tab.route("**/client.js", (route) => route.abort());
  await tab.goto(url);
  await tab.fill("#name", "Ada");
  await tab.press("#name", "Enter");
  assert.match(await tab.locator("#refusal").innerText(), /CHAT_CLIENT_JS/); // visible, or it would be empty
  assert.ok(await tab.locator("#door button").isDisabled());
  assert.deepEqual(failures, []);
  await tab.close();
}

async function visitWhileAway(context, url) {
  const tab = await enter(context, url, "Ada", "away");
  await context.setOffline(true);
  await tab.evaluate(() => socket.io.engine.close());
  await shows(tab, "#state", ["server away, trying again …"]);
  await context.setOffline(false);
  await tab.waitForSelector("#state[data-state=online]");
  await tab.close();
}

async function visit(context, url) {
  const ada = await enter(context, url, "Ada", "browser");
  await ada.fill("#text", "first");
  await ada.press("#text", "Enter");
  await shows(ada, "#messages p", ["first"]);

  const grace = await enter(context, url, "Grace", "browser");
  await shows(grace, "#messages p", ["first"]); // the history
  await shows(ada, "#people li", ["Ada", "Grace"]);

  await grace.locator("#text").pressSequentially("<img src=x onerror=alert(1)> 👋");
  await shows(ada, "#typing", ["Grace is typing …"]);
  await grace.click("#say button");
  await shows(ada, "#messages p", ["first", "<img src=x onerror=alert(1)> 👋"]);
  await shows(ada, "#typing", [""]);
  assert.equal(await ada.locator("#messages img").count(), 0);

  await until("the connection is upgraded", async () => {
    const transport = await ada.evaluate(() => socket.io.engine.transport.name);
    return transport === "websocket" || transport;
  });

  await ada.evaluate(() => socket.io.engine.close()); // the line drops: the page says so and comes back with its room
  await ada.waitForSelector("#state[data-state=connecting]");
  await ada.waitForSelector("#state[data-state=online]");
  await shows(ada, "#messages p", ["first", "<img src=x onerror=alert(1)> 👋"]);
  await grace.fill("#text", "welcome back");
  await grace.press("#text", "Enter");
  await shows(ada, "#messages p", ["first", "<img src=x onerror=alert(1)> 👋", "welcome back"]);

  await grace.close(); // a closed tab leaves the room
  await shows(ada, "#people li", ["Ada"]);

  await ada.setViewportSize({ width: 360, height: 640 });
  const wide = await ada.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `the page is ${wide} px wide on a phone`);
  assert.ok(await ada.locator("#text").isVisible());

  const namesake = await enter(context, url, "Ada", "browser"); // the same name is not the same person
  await namesake.fill("#text", "me too");
  await namesake.press("#text", "Enter");
  await shows(namesake, "#messages li.mine p", ["me too"]);
  await until("the other Ada reads it", async () => (await lines(ada, "#messages p")).includes("me too"));
  assert.ok(!(await lines(ada, "#messages li.mine p")).includes("me too"));
  await namesake.close();

  await ada.fill("#other-room", "a room with the longest name..");
  await ada.press("#other-room", "Enter");
  await shows(ada, "#room", ["a room with the longest name.."]);
  const field = await ada.locator("#other-room").boundingBox();
  assert.ok(field.width >= 100, `the field for another room has ${field.width} px beside a long name`);
  assert.ok(field.x + field.width <= 360, "and it is on the screen");

  await ada.setViewportSize({ width: 390, height: 800 }); // many messages push neither people nor input off a phone
  for (let n = 0; n < 20; n += 1) {
    await ada.fill("#text", `line ${n}`);
    await ada.press("#text", "Enter");
  }
  await until("twenty lines are there", async () => (await ada.locator("#messages li").count()) >= 20);
  const boxes = await Promise.all(["header", "aside", "#messages", "footer"].map((it) => ada.locator(it).first().boundingBox()));
  const edges = boxes.flatMap((box) => [box.y, box.y + box.height]);
  assert.deepEqual(edges, [...edges].sort((a, b) => a - b), `header, people, messages, input from top to bottom: ${edges}`);
  assert.ok(boxes[1].height > 20, `the people have ${boxes[1].height} px`);
  assert.ok(boxes[2].height > 400, `the messages have ${boxes[2].height} px`);
  assert.ok(edges.at(-1) <= 800, `the input ends at ${edges.at(-1)} px`);
}

async function main() {
  const { url, chromium: executablePath, profile } = JSON.parse(process.argv[2]);
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS });
  context.setDefaultTimeout(PATIENCE);
  try {
    await visit(context, url);
    await visitWithoutClient(context, url);
    await visitWhileAway(context, url);
  } finally {
    await context.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
