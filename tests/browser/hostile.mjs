// SPDX-License-Identifier: MIT
// node hostile.mjs PLAYWRIGHT CHROMIUM URL: opens every page at URL, whose file holds markup and scripts in every column
// (see `run`), and asks for the same in paths, queries and headers. No script of theirs may run, no element of theirs
// may come to be, and the page around them stays whole.
import {createRequire} from 'node:module';

const [playwright, executablePath, origin] = process.argv.slice(2);
const {chromium} = createRequire(playwright + '/')('playwright-core');
const faults = [];
const fault = text => { faults.push(text); console.log('FAULT ' + text); };
const browser = await chromium.launch({executablePath, headless: true, args: ['--no-sandbox', '--disable-gpu']});

const marks = ['"><img src=x onerror=hit()>', '</title></textarea></script><script>hit()</script>', "'--><svg onload=hit()>",
  'javascript:hit()', '" autofocus onfocus=hit() x="', '<!--', '\u202e\u0000<b', '%00%ff%3Cimg src=x onerror=hit()%3E'];
const encoded = marks.map(encodeURIComponent);
const addresses = ['/', '/?period=day', '/?period=week', '/running', '/upcoming', '/succeeded', '/failed', '/search',
  '/search?q=hit', '/search?q=hit&part=finished', '/search?q=img'];
for (const mark of encoded) {
  addresses.push(`/${mark}`, `/task/${mark}`, `/search?q=${mark}`, `/search?queue=${mark}&state=${mark}&since=${mark}`,
    `/running?queue=${mark}`, `/upcoming?queue=${mark}&after=${mark}`, `/?period=${mark}&sort=${mark}`, `/failed?${mark}=${mark}`);
}

let pages = 0;
for (const javaScriptEnabled of [true, false]) {
  const context = await browser.newContext({javaScriptEnabled});
  context.on('request', request => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) fault('foreign request: ' + request.url());
  });
  const page = await context.newPage();
  let where = '';
  page.on('dialog', dialog => { fault(`${where}: dialog`); dialog.dismiss(); });
  page.on('pageerror', error => fault(`${where}: exception: ${error.message}`));
  page.on('console', message => {  // a refused address is a failed load, and no fault
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) fault(`${where}: ${message.text()}`);
  });
  if (javaScriptEnabled) await page.addInitScript(() => { window.hit = () => { window.wasHit = true; }; });
  const look = async address => {
    where = address.slice(0, 120);
    const reply = await page.goto(origin + address);
    ++pages;
    if (reply.status() >= 500) fault(`${where}: status ${reply.status()}`);
    const seen = await page.evaluate(() => ({
      hit: !!window.wasHit,
      strangers: [...document.querySelectorAll('img,iframe,object,embed,script:not([src]),[onload],[onerror],[onfocus],a[href^="javascript:"],b[src]')].map(e => e.outerHTML.slice(0, 80)),
      footers: document.querySelectorAll('footer').length,
      whole: !!document.querySelector('nav') && document.querySelectorAll('main').length === 1,
      links: [...document.querySelectorAll('a[data-open]')].slice(0, 12).map(a => a.getAttribute('href')),
    }));
    if (seen.hit) fault(`${where}: a script of the file ran`);
    for (const stranger of seen.strangers) fault(`${where}: ${stranger}`);
    if (reply.status() === 200 && (seen.footers !== 1 || !seen.whole)) fault(`${where}: the page is not whole`);
    return seen.links;
  };
  const tasks = new Set();
  for (const address of addresses) for (const link of await look(address)) tasks.add(link);
  if (tasks.size < 10) fault(`only ${tasks.size} tasks with markup were found to open`);
  for (const task of tasks) await look(task);
  for (const mark of marks.slice(0, 5)) {
    await context.setExtraHTTPHeaders({'X-Forwarded-Prefix': '/' + mark, 'If-None-Match': mark, 'Accept-Language': mark});
    await look('/');
  }
  await context.close();
}
await browser.close();
console.log(`${pages} pages of a hostile file, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
