// SPDX-License-Identifier: MIT
// node hostile.mjs CHROMIUM URL: opens every page at URL, whose file holds markup and scripts in every column (see
// `run`), and asks for the same in paths, queries and headers. No script of theirs may run, no element of theirs may
// come to be, and the page around them stays whole.
import {findStrangers, watch, watchHits} from './checks.mjs';
import {Chromium} from './chromium.mjs';

const [program, entrance] = process.argv.slice(2);
const {origin} = new URL(entrance);
const faults = [];
const fault = text => { faults.push(text); console.log('FAULT ' + text); };
const browser = new Chromium(program);

const marks = ['"><img src=x onerror=hit()>', '</title></textarea></script><script>hit()</script>',
  "'--><svg onload=hit()>", 'javascript:hit()', '" autofocus onfocus=hit() x="', '<!--', '\u202e\u0000<b',
  '%00%ff%3Cimg src=x onerror=hit()%3E'];
const encoded = marks.map(encodeURIComponent);
const addresses = ['/', '/?period=day', '/?period=week', '/running', '/upcoming', '/succeeded', '/failed', '/search',
  '/search?q=hit', '/search?q=hit&part=finished', '/search?q=img'];
for (const mark of encoded) {
  addresses.push(`/${mark}`, `/task/${mark}`, `/search?q=${mark}`, `/search?queue=${mark}&state=${mark}&since=${mark}`,
    `/running?queue=${mark}`, `/upcoming?queue=${mark}&after=${mark}`, `/?period=${mark}&sort=${mark}`,
    `/?queue=${mark}`, `/failed?${mark}=${mark}`);
}

let pages = 0;
for (const scripts of [true, false]) {
  const page = await browser.open({scripts});
  await page.goto(entrance);
  await page.arrive(/\/$/);
  let where = '';
  watch(page, origin, text => {  // a refused address is a failed load, and no fault
    if (!text.startsWith('log: Failed to load resource')) fault(`${where}: ${text}`);
  });
  await watchHits(page);
  const look = async address => {
    where = address.slice(0, 120);
    const status = await page.goto(origin + address);
    ++pages;
    if (status >= 500) fault(`${where}: status ${status}`);
    for (const text of await findStrangers(page)) fault(`${where}: ${text}`);
    const seen = await page.run(() => ({
      whole: document.querySelectorAll('footer').length === 1 && document.querySelectorAll('main').length === 1
        && !!document.querySelector('nav'),
      links: [...document.querySelectorAll('a[data-open]')].slice(0, 12).map(a => a.getAttribute('href')),
    }));
    if (status === 200 && !seen.whole) fault(`${where}: the page is not whole`);
    return seen.links;
  };
  const tasks = new Set();
  for (const address of addresses) for (const link of await look(address)) tasks.add(link);
  if (tasks.size < 10) fault(`only ${tasks.size} tasks with markup were found to open`);
  for (const task of tasks) await look(task);
  for (const mark of marks.slice(0, 5)) {
    const headers = {'X-Forwarded-Prefix': '/' + mark, 'If-None-Match': mark, 'Accept-Language': mark};
    await page.send('Network.setExtraHTTPHeaders', {headers});
    await look('/');
  }
  await page.close();
}
await browser.close();
console.log(`${pages} pages of a hostile file, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
