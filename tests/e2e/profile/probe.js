// What a script can read of its device, in a document and in a worker alike. Ahead of it stands
// `const REPORT_TO = 'https://…'`; the tests assert on what arrives there.

/** Everything that can be read at once; what throws is told as what it threw. */
function probe() {
  const all = {};
  const read = (name, get) => {
    try {
      all[name] = get() ?? null;
    } catch (error) {
      all[name] = `threw ${error}`;
    }
  };
  const names = (object, ...keys) => Object.fromEntries(keys.map((key) => [key, object[key]]));

  for (const key of ['userAgent', 'platform', 'languages', 'language', 'hardwareConcurrency',
    'deviceMemory', 'onLine']) {
    read(key, () => navigator[key]);
  }
  read('appVersion', () => `Mozilla/${navigator.appVersion}`);
  read('userAgentData.brands', () => navigator.userAgentData?.brands);
  read('userAgentData.mobile', () => navigator.userAgentData?.mobile);
  read('userAgentData.platform', () => navigator.userAgentData?.platform);
  read('connection.type', () => navigator.connection.type);
  read('connection.saveData', () => navigator.connection.saveData);

  const intl = Intl.DateTimeFormat().resolvedOptions();
  read('Intl.timeZone', () => intl.timeZone);
  read('Intl.locale', () => intl.locale);
  read('Intl.numbers', () => Intl.NumberFormat().resolvedOptions().locale);
  // A date as its own zone and language have it, and as Intl has it when told which.
  read('Date', () => [0, 1.6e12, 1.75e12].every((time) => {
    const date = new Date(time);
    const told = date.toLocaleString(intl.locale, { timeZone: intl.timeZone });
    const offset = Date.parse(`${date.toLocaleString('en-US', { timeZone: 'UTC' })} UTC`)
      - Date.parse(`${date.toLocaleString('en-US', { timeZone: intl.timeZone })} UTC`);
    return date.toLocaleString() === told && date.getTimezoneOffset() * 60_000 === offset;
  }));
  if (typeof document === 'undefined') return all;

  read('maxTouchPoints', () => navigator.maxTouchPoints);
  read('webdriver', () => navigator.webdriver);
  read('plugins', () => navigator.plugins.length);
  read('mimeTypes', () => navigator.mimeTypes.length);
  read('pdfViewerEnabled', () => navigator.pdfViewerEnabled);
  read('screen', () => names(screen, 'width', 'height', 'availWidth', 'availHeight', 'colorDepth'));
  read('screen.orientation', () => names(screen.orientation, 'type', 'angle'));
  read('window.orientation', () => window.orientation);
  read('devicePixelRatio', () => devicePixelRatio);
  read('innerWidth', () => innerWidth);
  read('innerHeight', () => innerHeight);
  read('outerWidth', () => outerWidth);
  read('outerHeight', () => outerHeight);

  const media = (feature, ...values) =>
    values.filter((value) => matchMedia(`(${feature}: ${value})`).matches);
  for (const feature of ['pointer', 'any-pointer']) {
    read(`media.${feature}`, () => media(feature, 'none', 'coarse', 'fine'));
  }
  for (const feature of ['hover', 'any-hover']) {
    read(`media.${feature}`, () => media(feature, 'none', 'hover'));
  }
  read('media.orientation', () => media('orientation', 'portrait', 'landscape')[0]);
  // A width of so many physical pixels need not be a whole number of CSS pixels.
  read('media.width', () =>
    matchMedia(`(min-width: ${innerWidth - 0.5}px) and (max-width: ${innerWidth + 0.5}px)`).matches
      && innerWidth);
  read('media.device-width', () => media('device-width', `${screen.width}px`).length && screen.width);
  read('media.resolution', () =>
    media('resolution', `${devicePixelRatio}dppx`).length && devicePixelRatio);

  read('ontouchstart', () => 'ontouchstart' in window && 'ontouchstart' in document.documentElement);
  read('TouchEvent', () => {
    const touch = new Touch({ identifier: 1, target: document.documentElement });
    return new TouchEvent('touchstart', { touches: [touch] }).touches.length === 1
      && document.createEvent('TouchEvent') instanceof TouchEvent;
  });
  read('scrollbar', () => {
    const box = document.createElement('div');
    box.style.cssText = 'position:absolute;width:80px;height:80px;overflow:scroll';
    document.documentElement.append(box);
    const width = box.offsetWidth - box.clientWidth;
    box.remove();
    return width;
  });
  const has = (prototype, key) => typeof prototype !== 'undefined' && key in prototype;
  read('APIs of a phone', () =>
    [...['share', 'contacts', 'bluetooth'].filter((key) => has(navigator, key)),
      ...['NDEFReader', 'OrientationEvent'].filter((key) => key === 'NDEFReader'
        ? has(window, key) : has(window, 'onorientationchange'))]);
  read('APIs of a desktop', () =>
    [...['serial', 'hid'].filter((key) => has(navigator, key)),
      ...['EyeDropper', 'queryLocalFonts', 'documentPictureInPicture'].filter((key) =>
        has(window, key))]);
  read('fonts', () => fonts(['Roboto', 'DejaVu Sans', 'Liberation Sans', 'Ubuntu', 'Cantarell',
    'Segoe UI', 'Calibri', 'Helvetica Neue', 'SF Pro', 'Menlo', 'Consolas']));
  return all;
}

/** Which of these families text is really set in: those that change the width of the fallback. */
function fonts(candidates) {
  const canvas = document.createElement('canvas').getContext('2d');
  const width = (family) => {
    canvas.font = `72px ${family}`;
    return canvas.measureText('mmmmmmmmmmlliWAV@#7').width;
  };
  const installed = (family) =>
    ['serif', 'monospace'].some((other) => width(`"${family}", ${other}`) !== width(other));
  return {
    installed: candidates.filter(installed),
    sansSerif: width('sans-serif') === width('Roboto') ? 'Roboto' : 'another',
  };
}

/** What only a laid-out page tells. */
function probeLate() {
  const all = probe();
  if (typeof document === 'undefined') return all;
  all['visualViewport.width'] = Math.round(visualViewport.width);
  all['visualViewport.height'] = Math.round(visualViewport.height);
  if (window !== top) return all;
  const text = document.getElementById('text');
  if (text) {
    const range = document.createRange();
    range.selectNodeContents(text);
    // Ten pixels as styled; a phone sets a long text on a wide page larger.
    all['text autosizing'] = range.getClientRects()[0].height > 16;
  }
  const box = document.createElement('div');
  box.style.cssText = 'position:absolute;width:1px;height:calc(100lvh - 100svh)';
  document.documentElement.append(box);
  all['100lvh - 100svh'] = Math.round(box.offsetHeight * visualViewport.scale);
  box.remove();
  all.voices = speechSynthesis.getVoices().length > 0;
  all['Noto by name'] = fonts(['Noto Sans', 'Noto Sans Thai', 'Noto Serif Bengali']).installed;
  all['pageshow.persisted'] = RESTORED;
  all['document.prerendering'] = performance.getEntriesByType('navigation')[0]?.activationStart > 0;
  all['compiled in'] = [
    ['BarcodeDetector', window], ['keyboard', navigator], ['windowControlsOverlay', navigator],
    ['getScreenDetails', window],
  ].filter(([name, where]) => name in where).map(([name]) => name);
  return all;
}

/** Whether this document came back from the back/forward cache. */
let RESTORED = false;
if (typeof document !== 'undefined') {
  addEventListener('pageshow', ({ persisted }) => { RESTORED = persisted; });
}

/** As WebGL names the graphics hardware. */
function graphics() {
  const canvas = typeof document === 'undefined'
    ? new OffscreenCanvas(1, 1) : document.createElement('canvas');
  const gl = canvas.getContext('webgl');
  const names = gl?.getExtension('WEBGL_debug_renderer_info');
  return names ? {
    'WebGL vendor': gl.getParameter(names.UNMASKED_VENDOR_WEBGL),
    'WebGL renderer': gl.getParameter(names.UNMASKED_RENDERER_WEBGL),
  } : { 'WebGL vendor': null, 'WebGL renderer': null };
}

const HIGH = ['architecture', 'bitness', 'formFactors', 'fullVersionList', 'model',
  'platformVersion', 'uaFullVersion', 'wow64'];

/** The high-entropy client hints, where there are any. */
async function high() {
  const values = await navigator.userAgentData?.getHighEntropyValues(HIGH);
  return values && Object.fromEntries(HIGH.map((key) => [key, values[key] ?? null]));
}

/** Everything, now and later. `first` was probed by the first line that ran. */
async function observe(first, { gl = false } = {}) {
  const hints = await high();
  if (typeof document !== 'undefined') {
    if (document.readyState !== 'complete') {
      await new Promise((resolve) => addEventListener('load', resolve, { once: true }));
    }
    // A frame in a process of its own hears its size when its parents have laid it out.
    for (let turn = 0; turn < 100 && (turn === 0 || innerWidth === 0); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const later = probeLate();
  if (gl) Object.assign(later, graphics());
  return { secure: isSecureContext, first, later, high: hints ?? null };
}

/** Tells the origin what this target sees of its device. */
async function report(target, first, options) {
  const type = typeof document === 'undefined'
    ? 'worker' : performance.getEntriesByType('navigation')[0]?.type ?? 'none';
  const seen = await observe(first, options);
  const body = JSON.stringify({ target, type, ...seen });
  await fetch(REPORT_TO, { method: 'POST', mode: 'no-cors', body });
}
