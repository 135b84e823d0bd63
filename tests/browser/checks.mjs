// SPDX-License-Identifier: MIT
// What must not be on any page: each check answers with texts of what it found, or tells them to fault(text).

// Everything that Chromium reports about a page while it lives.
export function watch(page, origin, fault) {
  const request = url => {
    if (!url.startsWith(origin + '/') && !url.startsWith('data:')) fault('foreign request: ' + url);
  };
  page.on('Runtime.consoleAPICalled', ({type, args}) => {
    if (type === 'error') fault('console: ' + args.map(arg => arg.value ?? arg.description).join(' '));
  });
  page.on('Log.entryAdded', ({entry: {level, text, url}}) => {
    if (level === 'error') fault(`log: ${text} ${url ?? ''}`);
  });
  page.on('Audits.issueAdded', ({issue: {code, details}}) => {
    const report = details.contentSecurityPolicyIssueDetails;
    if (report) fault(`${code}: ${report.violatedDirective} ${report.blockedURL ?? ''}`);
  });
  page.on('Runtime.exceptionThrown', ({exceptionDetails: {text, exception}}) =>
    fault(`exception: ${text} ${exception?.description ?? exception?.value ?? ''}`));
  page.on('Page.javascriptDialogOpening', ({message}) => fault(`a dialog of a script: ${message}`));
  page.on('Network.requestWillBeSent', event => request(event.request.url));
  page.on('Network.webSocketCreated', event => request(event.url));
  page.on('Page.windowOpen', ({url}) => fault('a window is opened: ' + url));
}

export async function findWide(page) {
  const sizes = await page.run(() => ({content: document.documentElement.scrollWidth, window: innerWidth}));
  return sizes.content > sizes.window ? [`${sizes.content} px wide in a window of ${sizes.window}`] : [];
}

// Text must stand out from what is behind it: WCAG AA asks for 4.5 to 1.
export async function findFaint(page) {
  const found = await page.run(() => {
    const parse = color => { const n = color.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
      for (let e = element; e; e = e.parentElement) {
        const color = parse(getComputedStyle(e).backgroundColor);
        if (color[3] > 0.99) return color;
      }
      return [255, 255, 255, 1];
    };
    const found = new Set();
    for (const element of document.querySelectorAll('body *')) {
      const own = [...element.childNodes].some(n => n.nodeType === 3 && n.nodeValue.trim());
      if (!own || !element.checkVisibility() || element.closest('svg,dialog,.skip')) continue;
      const a = light(parse(getComputedStyle(element).color)), b = light(behind(element));
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const {localName, className} = element;
      if (ratio < 4.5) found.add(`${ratio.toFixed(2)} of <${localName} class="${className}">`);
    }
    return [...found];
  });
  return found.map(text => 'contrast ' + text);
}

export async function findUnnamed(page) {
  const found = await page.run(() => [...document.querySelectorAll('input:not([type=hidden]),select,button,a')]
    .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML.slice(0, 80)));
  return found.map(text => 'a control without a name: ' + text);
}

export const isVisible = (page, selector) => page.run(selector => {
  const element = document.querySelector(selector);
  if (!element || !element.checkVisibility({visibilityProperty: true})) return false;
  const {width, height} = element.getBoundingClientRect();
  return width > 0 && height > 0;
}, selector);

// What only markup of a task could have put there; it calls hit(), which watchHits() gives it.
export const watchHits = page =>
  page.send('Page.addScriptToEvaluateOnNewDocument', {source: 'window.hit = () => { window.wasHit = true; };'});

export async function findStrangers(page) {
  const {hit, strangers} = await page.run(() => ({
    hit: !!window.wasHit,
    strangers: [...document.querySelectorAll('img,iframe,object,embed,script:not([src]),[onload],[onerror],[onfocus],' +
      'a[href^="javascript:"],b[src]')].map(e => e.outerHTML.slice(0, 80)),
  }));
  return [...hit ? ['a script of the file ran'] : [], ...strangers.map(text => 'an element of the file: ' + text)];
}
