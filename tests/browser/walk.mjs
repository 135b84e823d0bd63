// SPDX-License-Identifier: MIT
// node walk.mjs CHROMIUM URL FOLDER: walks every page of the dashboard at URL in a real browser: narrow and wide, light
// and dark, with scripts and without. Nothing may be asked of another host, logged as an error, or reported against the
// content security policy, and no page may be wider than its window. Screenshots go to FOLDER.
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {findFaint, findUnnamed, findWide, isVisible, watch} from './checks.mjs';
import {Chromium} from './chromium.mjs';

const [program, origin, folder] = process.argv.slice(2);
mkdirSync(folder, {recursive: true});

const faults = [];
const fault = text => { faults.push(text); console.log('FAULT ' + text); };
const browser = new Chromium(program);

// Addresses of one task of each kind, found as a person would: by following the first link of each list.
async function findPages() {
  const page = await browser.open();
  const pages = [['overview', '/'], ['overview-day', '/?period=day&sort=failed'], ['running', '/running'],
    ['upcoming', '/upcoming'], ['succeeded', '/succeeded'], ['failed', '/failed'], ['search', '/search?q=img_1'],
    ['search-form', '/search'], ['empty', '/running?queue=no-such-queue'], ['search-nothing', '/search?q=zzzzzz'],
    ['queue', '/?queue=write_report'], ['queue-week', '/?queue=collect_payment&period=week'],
    ['queue-unknown', '/?queue=no-such-queue'], ['retrying', '/upcoming?state=retrying']];
  const lists = [['running', '/running'], ['upcoming', '/upcoming'], ['succeeded', '/succeeded'], ['failed', '/failed'],
    ['retrying', '/upcoming?queue=collect_payment&state=scheduled']];
  for (const [name, list] of lists) {
    let link;
    await page.until(`${list} has a task to follow`, async () => {  // tasks come and go
      await page.goto(origin + list);
      link = await page.run(() => document.querySelector('a[data-open]')?.getAttribute('href'));
      return link;
    }).catch(error => fault(error.message));
    if (link && name !== 'running') pages.push(['task-' + name, link]);
  }
  await page.close();
  return pages;
}

let visits = 0;
async function visit(pages, scripts, width, colorScheme) {
  const page = await browser.open({scripts, colorScheme, width, height: 900});
  let where = '';
  watch(page, origin, text => fault(`${where}: ${text}`));
  for (const [name, path] of pages) {
    where = `${name} ${width} ${colorScheme} ${scripts ? 'scripts' : 'no scripts'}`;
    const status = await page.goto(origin + path);
    if (status !== 200) fault(`${where}: status ${status}`);
    ++visits;
    for (const find of [findWide, findFaint, findUnnamed])
      for (const text of await find(page)) fault(`${where}: ${text}`);
    if (await isVisible(page, '#live') !== scripts)
      fault(`${where}: ${scripts ? 'no live controls' : 'controls that cannot work'}`);
    const file = `${name}-${width}-${colorScheme}${scripts ? '' : '-noscript'}.png`;
    await page.screenshot(join(folder, file), /^(overview|task)/.test(name));
  }
  await page.close();
}

async function visitAll() {
  const pages = await findPages();
  for (const scripts of [true, false])
    for (const width of [360, 1400])
      for (const colorScheme of ['light', 'dark']) await visit(pages, scripts, width, colorScheme);
}

// What the script of the pages does.
async function tryScript() {
  const page = await browser.open({width: 1400, height: 900});
  watch(page, origin, text => fault(`script: ${text}`));
  let polls = 0;
  page.on('Network.requestWillBeSent', ({request}) => { if (request.headers['If-None-Match']) ++polls; });
  const expect = (what, check) => page.until(what, check).catch(error => fault(`script: ${error.message}`));
  const rate = () => page.run(() => document.querySelector('#rate').value);
  const theme = () => page.run(() => document.documentElement.dataset.theme);
  const shown = () => page.run(() => document.querySelector('footer time').textContent);
  const updateEverySecond = () => page.run(() => {
    const rate = document.querySelector('#rate');
    rate.value = '1';
    rate.dispatchEvent(new Event('change', {bubbles: true}));
  });

  await page.goto(origin + '/');
  await updateEverySecond();
  await expect('polls with the tag of the last answer', () => polls >= 2);
  await page.press('?');
  await expect('? shows the shortcuts', () => isVisible(page, '#keys'));
  await page.press('Escape');
  await page.press('p');
  await expect('p pauses', async () => await rate() === '0');
  await sleep(300);
  const paused = polls;
  await sleep(2500);
  if (polls !== paused) fault('script: a paused page polls');
  await page.press('/');
  await expect('/ goes to the search', () => page.run(() => document.activeElement.id === 'q'));
  await page.type('img_1');
  await page.press('Enter');
  await page.arrive(/search/);
  await page.goto(origin + '/failed');
  await page.press('j');
  await page.press('j');
  await expect('j chooses the next row', () => page.run(() => [...document.querySelectorAll('tr[data-row]')]
    .findIndex(row => row.classList.contains('chosen')) === 1));
  await page.press('Enter');
  await page.arrive(/task/);
  await page.click('#theme');
  if (await theme() !== 'dark') fault(`script: the theme is ${await theme()} after a click on it`);
  await page.goto(origin + '/');
  if (await theme() !== 'dark') fault('script: the theme is forgotten');

  // A page that changes keeps focus and scroll; under the pointer nothing moves.
  await page.resize(1400, 500);
  await updateEverySecond();
  await page.run(() => { document.querySelector('.switch a').focus(); scrollTo(0, 150); });
  const before = await shown();
  await expect('a page of a working file changes', async () => await shown() !== before);
  const kept = await page.run(() => ({scroll: scrollY, focus: !!document.activeElement.closest('.switch')}));
  if (kept.scroll !== 150) fault(`script: scroll position ${kept.scroll} after an update, not 150`);
  if (!kept.focus) fault('script: the focus is lost by an update');
  await page.hover('tr[data-row]');
  await sleep(200);
  const held = await shown();
  await sleep(2500);
  if (await shown() !== held) fault('script: the list under the pointer is updated');
  await page.moveMouse(700, 10);
  await expect('what waited is shown once the pointer is gone', async () => await shown() !== held);
  await page.close();
}

await Promise.all([visitAll(), tryScript()].map(part => part.catch(error => fault(error.stack))));
await browser.close();
console.log(`${visits} pages seen, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
