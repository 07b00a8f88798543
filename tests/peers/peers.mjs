// Runs inside the container that `run` makes: every contestant by turns, a table at the end.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { chromium } from 'playwright-core';

const CHROMIUM = '/usr/lib/chromium/chromium';
const NODE = process.execPath;
const STAGES = ['create', 'connect', 'goto', 'release', 'total'];
const LIMIT = 120_000;

const words = process.argv.slice(2);
const option = (name, otherwise) => {
  const at = words.indexOf(name);
  return at < 0 ? otherwise : words[at + 1];
};
const count = Number(option('--count', '20'));
const concurrency = option('--concurrency', '1,10').split(',').map(Number);

// A session's flags, less what belongs to its surroundings.
const surroundings = ['--proxy-', '--remote-debugging-', '--user-data-dir', '--headless', 'about:blank'];
const flags = JSON.parse(readFileSync('/peers/profile.json')).launch_flags
  .filter((flag) => !surroundings.some((start) => flag.startsWith(start)));

const page = '<!doctype html><title>peers</title>' + '<p>The quick brown fox. </p>'.repeat(2000);
const origin = http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(page));
await new Promise((done) => origin.listen(8000, '127.0.0.1', done));
const url = 'http://127.0.0.1:8000/';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const within = (what, promise) => {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${what}: too late`)), LIMIT); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const children = new Set();
const start = (command, args, env = {}, cwd = '/tmp') => {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  child.said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { child.said = (child.said + text).slice(-4000); });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
};
const stop = async (child) => {
  try { process.kill(-child.pid, 'SIGKILL'); } catch { /* gone */ }
  while (child.exitCode === null && child.signalCode === null) await sleep(10);
};
const answers = async (url, child) => {
  for (const until = Date.now() + 60_000; Date.now() < until; await sleep(10)) {
    if (child.exitCode !== null) throw new Error(`${url}: ended: ${child.said}`);
    try { return await (await fetch(url)).text(); } catch { /* not yet */ }
  }
  throw new Error(`${url}: no answer: ${child.said}`);
};
let port = 20_000;

// Each has: up() once; prepare() before and clear() after each lifecycle, unmeasured; and the steps.
const raw = {
  async prepare() {
    const dir = mkdtempSync('/tmp/raw-');
    const own = port++;
    const child = start(CHROMIUM, ['--headless=new', `--remote-debugging-port=${own}`, `--user-data-dir=${dir}`, ...flags, 'about:blank']);
    const told = JSON.parse(await answers(`http://127.0.0.1:${own}/json/version`, child));
    return { child, dir, ws: told.webSocketDebuggerUrl };
  },
  create: async (held) => held.ws,
  connect: async (ws) => {
    const browser = await chromium.connectOverCDP(ws);
    return { browser, tab: browser.contexts()[0].pages()[0] ?? await browser.contexts()[0].newPage() };
  },
  release: async () => {},
  async clear(held, { browser } = {}) {
    await browser?.close().catch(() => {});
    await stop(held.child);
    rmSync(held.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  },
};

const browserless = {
  async up() {
    // It does not start unless every browser that it could drive is where Playwright would put it.
    const { chromium, firefox, webkit } = createRequire('/peers/node_modules/@browserless.io/browserless/')('playwright-core');
    for (const path of [chromium, firefox, webkit].map((kind) => kind.executablePath())) {
      mkdirSync(dirname(path), { recursive: true });
      symlinkSync(CHROMIUM, path);
    }
    mkdirSync('/tmp/browserless');
    this.child = start(NODE, ['/peers/node_modules/@browserless.io/browserless/bin/browserless.js', 'start'], {
      PORT: '3000', HOST: '127.0.0.1', TOKEN: 'peers', CONCURRENT: '50', QUEUED: '50', TIMEOUT: '120000',
      DATA_DIR: '/tmp/browserless', DEBUG: '',
    }, '/peers');
    await answers('http://127.0.0.1:3000/', this.child);
  },
  create: async () => `ws://127.0.0.1:3000/chromium?token=peers&launch=${encodeURIComponent(JSON.stringify({ args: flags, executablePath: CHROMIUM }))}`,
  connect: raw.connect,
  release: async ({ browser }) => browser.close(),
};

const options = { executablePath: CHROMIUM, args: flags, chromiumSandbox: true, headless: true };

const launchServer = {
  async create(_held, mine) {
    mine.server = await chromium.launchServer(options);
    return mine.server.wsEndpoint();
  },
  connect: async (ws) => {
    const browser = await chromium.connect(ws);
    return { browser, tab: await browser.newPage() };
  },
  release: async ({ browser }, mine) => { await browser.close(); await mine.server.close(); },
};

const runServer = {
  async up() {
    this.child = start(NODE, ['/peers/node_modules/playwright-core/cli.js', 'run-server', '--unsafe', '--port', '3001', '--host', '127.0.0.1']);
    await answers('http://127.0.0.1:3001/', this.child);
  },
  create: async () => 'ws://127.0.0.1:3001/',
  connect: async (ws) => {
    const headers = { 'x-playwright-browser': 'chromium', 'x-playwright-launch-options': JSON.stringify(options) };
    const browser = await chromium.connect(ws, { headers });
    return { browser, tab: await browser.newPage() };
  },
  release: async ({ browser }) => browser.close(),
};

const chromedriver = {
  async up() {
    this.child = start('/peers/driver/usr/bin/chromedriver', ['--port=3002']);
    await answers('http://127.0.0.1:3002/status', this.child);
  },
  async create(_held, mine) {
    const asked = { capabilities: { alwaysMatch: { 'goog:chromeOptions': { binary: CHROMIUM, args: ['--headless=new', ...flags] } } } };
    const answer = await fetch('http://127.0.0.1:3002/session', { method: 'POST', body: JSON.stringify(asked) });
    const { value } = await answer.json();
    if (!value.sessionId) throw new Error(value.message);
    mine.session = value.sessionId;
    return `http://${value.capabilities['goog:chromeOptions'].debuggerAddress}`;
  },
  connect: raw.connect,
  release: async (_browser, mine) => {
    await fetch(`http://127.0.0.1:3002/session/${mine.session}`, { method: 'DELETE' });
  },
};

const all = { raw, browserless, launchServer, 'run-server': runServer, chromedriver };
const only = option('--only', Object.keys(all).join(',')).split(',');
const contestants = Object.entries(all).filter(([name]) => only.includes(name));

async function lifecycle(who, held) {
  const mine = {};
  const spans = {};
  let lap = performance.now();
  const began = lap;
  const stage = (name) => { const now = performance.now(); spans[name] = now - lap; lap = now; };
  const at = await who.create(held, mine);
  stage('create');
  const open = await who.connect(at);
  stage('connect');
  await open.tab.goto(url, { waitUntil: 'domcontentloaded' });
  stage('goto');
  await who.release(open, mine);
  stage('release');
  spans.total = lap - began;
  return { spans, open };
}

const found = new Map();
const failures = [];
const ready = [];
for (const [name, who] of contestants) {
  try { await within(name, who.up?.() ?? Promise.resolve()); ready.push([name, who]); } catch (error) { failures.push(`${name}: ${error.message}`); }
}
for (const atATime of concurrency) {
  const rounds = Math.ceil(count / atATime);
  for (let round = 0; round < rounds; round++) {
    const order = ready.map((_, index) => ready[(index + round) % ready.length]);
    for (const [name, who] of order) {
      const key = `${name}, ${atATime} at a time`;
      const row = found.get(key) ?? { name, atATime, spans: [], failed: 0 };
      found.set(key, row);
      const held = await Promise.all(Array.from({ length: atATime }, () => within(name, who.prepare?.() ?? Promise.resolve())));
      await sleep(300);
      const ended = await Promise.allSettled(held.map((one) => within(name, lifecycle(who, one))));
      for (const [index, life] of ended.entries()) {
        if (life.status === 'fulfilled') row.spans.push(life.value.spans);
        else { row.failed++; if (failures.length < 8) failures.push(`${name}: ${life.reason.message.split('\n')[0]}`); }
        await who.clear?.(held[index], life.value?.open);
      }
      process.stderr.write(`peers: ${key}, round ${round + 1} of ${rounds}\n`);
      await sleep(700);
    }
  }
}
for (const child of [...children]) await stop(child);

const p = (values, percent) => values.sort((a, b) => a - b)[Math.max(1, Math.ceil((values.length * percent) / 100)) - 1];
const rows = [...found.values()].map(({ name, atATime, spans, failed }) => {
  const row = { who: name, at_a_time: atATime, ok: spans.length, failed };
  for (const stage of STAGES) row[stage] = spans.length ? Math.round(p(spans.map((s) => s[stage]), 50)) : null;
  row.total_p95 = spans.length ? Math.round(p(spans.map((s) => s.total), 95)) : null;
  const base = found.get(`raw, ${atATime} at a time`)?.spans ?? [];
  row['× raw'] = base.length && spans.length ? Number((row.total / p(base.map((s) => s.total), 50)).toFixed(2)) : null;
  return row;
});
console.table(rows);
for (const failure of failures) console.log(failure);
process.exit(0);
