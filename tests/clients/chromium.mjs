// A real Chromium, told what to do line by line. Started by testkit::chromium.
//
//   node chromium.mjs '{"program": PATH, "scripts": true, "dark": false, "width": 1024, "height": 768}'
//
// Says {"event": "ready", "port": N}: at 127.0.0.1:N is an application to which a sign-in can lead back. Then it hears JSON lines on
// stdin ({"do": "open", "url": …}) and answers each with {"event": "page", …}: what the page looks like then.
// GATEWAY_TOOLS is the folder of scripts/tools.py.

import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";

const settings = JSON.parse(process.argv[2]);
const require = createRequire(`${process.env.GATEWAY_TOOLS}/npm/package.json`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

const profile = mkdtempSync(path.join(tmpdir(), "chromium-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: settings.program,
  // Nothing but the pages under test is to be asked for; the sandbox needs rights that a container does not give.
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  javaScriptEnabled: settings.scripts,
  colorScheme: settings.dark ? "dark" : "light",
  viewport: { width: settings.width, height: settings.height },
});
const page = context.pages()[0] ?? (await context.newPage());

// A machine that is busy takes its time to start a browser.
page.setDefaultTimeout(60_000);

const application = http.createServer((_, response) => {
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><html lang=en><title>The application</title>");
});
await new Promise((listening) => application.listen(0, "127.0.0.1", listening));
process.stdout.write(`${JSON.stringify({ event: "ready", port: application.address().port })}\n`);

// What a person would not see, but the browser complains of; and where the pages took things from.
const problems = [];
const hosts = new Set();
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(error.message));
page.on("requestfailed", (request) => problems.push(`${request.url()}: ${request.failure()?.errorText}`));
page.on("request", (request) => hosts.add(new URL(request.url()).host));

/** What a person sees, and what assistive technology is told. */
const look = () =>
  page.evaluate(() => {
    const focus = document.activeElement;
    const texts = [...document.querySelectorAll("main *")].filter((element) => element.children.length === 0 && element.textContent.trim());
    const size = (element) => parseFloat(getComputedStyle(element).fontSize);
    const largest = texts.sort((one, other) => size(other) - size(one))[0];
    return {
      url: location.href,
      title: document.title,
      text: document.body.innerText,
      focus: focus === document.body ? null : focus.innerText || focus.labels?.[0]?.innerText || focus.tagName,
      largest: largest?.textContent ?? "",
      background: getComputedStyle(document.body).backgroundColor,
      // Pixels by which the page is wider than the window.
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      scripts: document.scripts.length,
      links: [...document.links].map((link) => link.href),
    };
  });

/** Does what leads to another page, and waits for it. */
const leading = (action) => Promise.all([page.waitForEvent("framenavigated"), action()]);

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const actions = {
  open: ({ url }) => page.goto(url),
  click: ({ name }) => leading(() => page.getByRole("button", { name, exact: true }).first().click()),
  enter: () => leading(() => page.keyboard.press("Enter")),
  fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  resize: ({ width, height }) => page.setViewportSize({ width, height }),
  shot: ({ file }) => page.screenshot({ path: file, fullPage: true }),
  look: () => {},
  /** Accessibility, by the rules of WCAG 2.2 AA that a program can check. */
  audit: async () => {
    await page.evaluate(axe);
    const { violations } = await page.evaluate((values) => globalThis.axe.run({ runOnly: { type: "tag", values } }), RULES);
    return { violations: violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`)) };
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: action, ...options } = JSON.parse(line);
  const more = (await actions[action](options)) ?? {};
  await page.waitForLoadState("load");
  const { violations } = more;
  const seen = { event: "page", ...(await look()), problems, hosts: [...hosts], violations: violations ?? [] };
  process.stdout.write(`${JSON.stringify(seen)}\n`);
}
await context.close();
application.close();
rmSync(profile, { recursive: true, force: true });
