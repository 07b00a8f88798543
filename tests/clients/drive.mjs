// One automation library, driven line by line: `node drive.mjs patchright|playwright|puppeteer`.
//
// A line on stdin is a command: {"id":1,"do":"goto","with":{"url":"…"}}. A line on stdout is its
// answer, {"id":1,"ok":…} or {"id":1,"error":"…"}, or something that happened by itself,
// {"event":"disconnected"}. The end of stdin ends the process. The tests assert on this data.

import { createInterface } from 'node:readline';

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

/** What the libraries differ in; everything else is the same words in all three. */
const LIBRARIES = {
  patchright: async () => playwright((await import('patchright')).chromium),
  playwright: async () => playwright((await import('playwright-core')).chromium),
  puppeteer: async () => puppeteer((await import('puppeteer-core')).default),
};

function playwright(chromium) {
  return {
    connect: (url, timeout) => chromium.connectOverCDP(url, { timeout }),
    firstPage: async (browser) => {
      const context = browser.contexts()[0];
      return context.pages()[0] ?? (await context.newPage());
    },
    newPage: (browser) => browser.contexts()[0].newPage(),
    newContext: async (browser, options) => (await browser.newContext(options)).newPage(),
    rawPage: (page) => page.context().newCDPSession(page),
    popup: async (page, script) => {
      const [popup] = await Promise.all([page.waitForEvent('popup'), page.evaluate(script)]);
      await popup.waitForLoadState();
      return popup;
    },
    setViewport: (page, size) => page.setViewportSize(size),
    navigation: { waitUntil: 'load', timeout: 20_000 },
    // Over CDP both words mean: this connection ends, the browser goes on.
    disconnect: (browser) => browser.close(),
  };
}

function puppeteer(library) {
  return {
    connect: (url, timeout) =>
      library.connect({ browserWSEndpoint: url, protocolTimeout: timeout }),
    firstPage: async (browser) => (await browser.pages())[0] ?? (await browser.newPage()),
    newPage: (browser) => browser.newPage(),
    newContext: async (browser, options) => (await browser.createBrowserContext(options)).newPage(),
    rawPage: (page) => page.createCDPSession(),
    popup: async (page, script) => {
      const opened = new Promise((resolve) => page.once('popup', resolve));
      await page.evaluate(script);
      return opened;
    },
    setViewport: (page, size) => page.setViewport(size),
    navigation: { waitUntil: 'load', timeout: 20_000 },
    disconnect: (browser) => browser.disconnect(),
  };
}

const library = await LIBRARIES[process.argv[2]]();
let browser;
let page;
let loop;

/** Navigates round and round; every arrival counts, every failure is kept. */
function navigateForEver(urls, bearable = 20) {
  const state = { stop: false, arrived: 0, failures: [] };
  state.done = (async () => {
    while (!state.stop) {
      const url = urls[state.arrived % urls.length];
      try {
        const response = await page.goto(url, library.navigation);
        const seen = await page.evaluate('location.href');
        if (response.status() !== 200) throw new Error(`status ${response.status()} at ${seen}`);
        state.arrived += 1;
      } catch (error) {
        state.failures.push(String(error));
        // What interrupted it is the end of an earlier one; the next at once would be interrupted by this one.
        if (String(error).includes('interrupted by another navigation')) {
          await new Promise((resolve) => setTimeout(resolve, 300));
        }
        if (state.failures.length >= bearable) state.stop = true;
      }
    }
  })();
  return state;
}

/** Goes where it should not be able to go, and tells what is shown there. */
async function attempt(url) {
  const error = await page.goto(url, library.navigation).then(
    () => null,
    (refusal) => String(refusal),
  );
  // The error page is a navigation of its own that comes after the refusal.
  let shown;
  for (let tries = 0, same = 0; tries < 50 && same < 3; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = await page
      .evaluate('[location.protocol, document.documentElement.innerText]')
      .catch(() => undefined);
    same = now && now.join() === shown?.join() ? same + 1 : 0;
    shown = now;
  }
  return { error, protocol: shown?.[0] ?? null, text: shown?.[1] ?? '' };
}

const COMMANDS = {
  connect: async ({ url, timeout = 60_000 }) => {
    browser = await library.connect(url, timeout);
    browser.on('disconnected', () => say({ event: 'disconnected' }));
    page = await library.firstPage(browser);
  },
  goto: async ({ url }) => {
    const response = await page.goto(url, library.navigation);
    return { status: response?.status() ?? null, url: page.url() };
  },
  reload: async () => void (await page.reload(library.navigation)),
  back: async () => void (await page.goBack(library.navigation)),
  forward: async () => void (await page.goForward(library.navigation)),
  // The same words in all three.
  tap: ({ x, y }) => page.touchscreen.tap(x, y),
  attempt: ({ url }) => attempt(url),
  evaluate: ({ script }) => page.evaluate(script),
  screenshot: async () => Buffer.from(await page.screenshot()).toString('base64'),
  new_page: async () => void (page = await library.newPage(browser)),
  new_context: async ({ options }) => void (page = await library.newContext(browser, options)),
  set_viewport: ({ size }) => library.setViewport(page, size),
  set_user_agent: ({ agent }) => page.setUserAgent(agent),
  emulate: ({ device }) => page.emulate(device),
  popup: async ({ script }) => (await library.popup(page, script)).url(),
  // Kept open on purpose: many overrides last as long as the session that made them.
  raw_page: async ({ method, params }) => (await library.rawPage(page)).send(method, params),
  loop: ({ urls, bearable }) => void (loop = navigateForEver(urls, bearable)),
  loop_count: () => ({ arrived: loop.arrived, failures: loop.failures }),
  loop_stop: async () => {
    loop.stop = true;
    await loop.done;
    return { arrived: loop.arrived, failures: loop.failures };
  },
  disconnect: () => library.disconnect(browser),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: word, with: args = {} } = JSON.parse(line);
  // Not awaited here: a command may take long while others ask how it goes.
  Promise.resolve()
    .then(() => COMMANDS[word](args))
    .then((ok) => say({ id, ok: ok ?? null }))
    .catch((error) => say({ id, error: String(error?.message ?? error) }));
}
process.exit(0);
