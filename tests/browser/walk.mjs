// SPDX-License-Identifier: MIT
// node walk.mjs PLAYWRIGHT CHROMIUM URL FOLDER: walks every page of the dashboard at URL in a real browser: narrow and
// wide, light and dark, with scripts and without. Nothing may be asked of another host, logged as an error, or reported
// against the content security policy, and no page may be wider than its window. Screenshots go to FOLDER.
import {createRequire} from 'node:module';
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';

const [playwright, executablePath, origin, folder] = process.argv.slice(2);
const {chromium} = createRequire(playwright + '/')('playwright-core');
mkdirSync(folder, {recursive: true});

const faults = [];
const fault = text => { faults.push(text); console.log('FAULT ' + text); };
const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});

async function watch(context, page, where) {
  page.on('console', message => { if (message.type() === 'error') fault(`${where}: console: ${message.text()}`); });
  page.on('pageerror', error => fault(`${where}: exception: ${error.message}`));
  page.on('dialog', dialog => { fault(`${where}: a dialog of a script: ${dialog.message()}`); dialog.dismiss(); });
  context.on('request', request => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith('data:')) fault(`${where}: foreign request: ${url}`);
  });
}

// Addresses of one task of each kind, found as a person would: by following the first link of each list.
async function findPages() {
  const context = await browser.newContext();
  const page = await context.newPage();
  const pages = [['overview', '/'], ['overview-day', '/?period=day&sort=failed'], ['running', '/running'],
    ['upcoming', '/upcoming'], ['succeeded', '/succeeded'], ['failed', '/failed'], ['search', '/search?q=img_1'],
    ['search-form', '/search'], ['empty', '/running?queue=no-such-queue'], ['search-nothing', '/search?q=zzzzzz']];
  for (const list of ['running', 'upcoming', 'succeeded', 'failed']) {
    let link = null;
    for (let i = 0; i < 60 && !link; ++i) {  // tasks come and go
      if (i > 0) await page.waitForTimeout(500);
      await page.goto(origin + '/' + list);
      link = await page.$('a[data-open]');
    }
    if (!link) { fault(`/${list}: no task to follow`); continue; }
    const href = await link.getAttribute('href');
    if (list !== 'running') pages.push(['task-' + list, href]);
  }
  await context.close();
  return pages;
}

const pages = await findPages();
let visits = 0;
for (const javaScriptEnabled of [true, false]) {
  for (const width of [360, 1400]) {
    for (const colorScheme of ['light', 'dark']) {
      const context = await browser.newContext({javaScriptEnabled, colorScheme, viewport: {width, height: 900}});
      const page = await context.newPage();
      const where = {text: ''};
      await watch(context, page, {toString: () => where.text});
      for (const [name, path] of pages) {
        where.text = `${name} ${width} ${colorScheme} ${javaScriptEnabled ? 'scripts' : 'no scripts'}`;
        const reply = await page.goto(origin + path);
        if (reply.status() !== 200) fault(`${where.text}: status ${reply.status()}`);
        ++visits;
        const sizes = await page.evaluate(() => ({content: document.documentElement.scrollWidth, window: innerWidth}));
        if (sizes.content > sizes.window) fault(`${where.text}: ${sizes.content} px wide in a window of ${sizes.window}`);
        if (javaScriptEnabled && !await page.isVisible('#live')) fault(`${where.text}: no live controls`);
        if (!javaScriptEnabled && await page.isVisible('#live')) fault(`${where.text}: controls that cannot work`);
        // Text must stand out from what is behind it: WCAG AA asks for 4.5 to 1.
        for (const bad of await page.evaluate(contrastFaults)) fault(`${where.text}: contrast ${bad}`);
        const unnamed = await page.evaluate(() => [...document.querySelectorAll('input,select,button,a')]
          .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML.slice(0, 80)));
        for (const control of unnamed) fault(`${where.text}: a control without a name: ${control}`);
        const kind = javaScriptEnabled ? '' : '-noscript';
        await page.screenshot({path: join(folder, `${name}-${width}-${colorScheme}${kind}.png`), fullPage: /^(overview|task)/.test(name)});
      }
      await context.close();
    }
  }
}

function contrastFaults() {
  const parse = color => { const n = color.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
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
    if (ratio < 4.5) found.add(`${ratio.toFixed(2)} of <${element.tagName.toLowerCase()} class="${element.className}">`);
  }
  return [...found];
}

// ---- what the script does ----
{
  const context = await browser.newContext({viewport: {width: 1400, height: 900}});
  const page = await context.newPage();
  await watch(context, page, 'script');
  let polls = 0;
  page.on('request', request => { if (request.headers()['if-none-match']) ++polls; });
  await page.goto(origin + '/');
  await page.selectOption('#rate', '1');
  const expect = async (what, check) => {
    for (let i = 0; i < 80; ++i) { if (await check()) return; await page.waitForTimeout(100); }
    fault('script: ' + what);
  };
  await expect('polls with the tag of the last answer', () => polls >= 2);
  await page.keyboard.press('?');
  await expect('? shows the shortcuts', () => page.isVisible('#keys'));
  await page.keyboard.press('Escape');
  await page.keyboard.press('p');
  await expect('p pauses', async () => await page.inputValue('#rate') === '0');
  await page.waitForTimeout(300);
  const paused = polls;
  await page.waitForTimeout(2500);
  if (polls !== paused) fault('script: a paused page polls');
  await page.keyboard.press('/');
  await expect('/ goes to the search', () => page.evaluate(() => document.activeElement.id === 'q'));
  await page.keyboard.type('img_1');
  await page.keyboard.press('Enter');
  await page.waitForURL(/search/);
  await page.goto(origin + '/failed');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await expect('j chooses the next row', () => page.evaluate(() => [...document.querySelectorAll('tr[data-row]')]
    .findIndex(row => row.classList.contains('chosen')) === 1));
  await page.keyboard.press('Enter');
  await page.waitForURL(/task/);
  await page.click('#theme');
  const theme = await page.getAttribute('html', 'data-theme');
  if (theme !== 'dark') fault(`script: the theme is ${theme} after a click on it`);
  await page.goto(origin + '/');
  if (await page.getAttribute('html', 'data-theme') !== 'dark') fault('script: the theme is forgotten');

  // A page that changes keeps focus and scroll; under the pointer nothing moves.
  await page.setViewportSize({width: 1400, height: 500});
  await page.selectOption('#rate', '1');
  await page.focus('.switch a');
  await page.evaluate(() => scrollTo(0, 150));
  const before = await page.textContent('footer time');
  await expect('a page of a working file changes', async () => await page.textContent('footer time') !== before);
  const kept = await page.evaluate(() => ({scroll: scrollY, focus: !!document.activeElement.closest('.switch')}));
  if (kept.scroll !== 150) fault(`script: scroll position ${kept.scroll} after an update, not 150`);
  if (!kept.focus) fault('script: the focus is lost by an update');
  await page.hover('tr[data-row]');
  await page.waitForTimeout(200);
  const held = await page.textContent('footer time');
  await page.waitForTimeout(2500);
  if (await page.textContent('footer time') !== held) fault('script: the list under the pointer is updated');
  await page.mouse.move(700, 10);
  await expect('what waited is shown once the pointer is gone', async () => await page.textContent('footer time') !== held);
  await context.close();
}
await browser.close();
console.log(`${visits} pages seen, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
