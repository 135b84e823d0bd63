// SPDX-License-Identifier: MIT
// node walk.mjs CHROMIUM URL FOLDER: walks every page of the dashboard at URL, which holds its token, in a browser:
// narrow and wide, light and dark, with scripts and without. Nothing may be asked of another host, logged as an error,
// or reported against the content security policy, and no page may be wider than its window. Screenshots go to FOLDER.
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {findFaint, findUnnamed, findWide, isVisible, watch} from './checks.mjs';
import {Chromium} from './chromium.mjs';

const [program, entrance, folder] = process.argv.slice(2);
const {origin} = new URL(entrance);
mkdirSync(folder, {recursive: true});

const faults = [];
const fault = text => { faults.push(text); console.log('FAULT ' + text); };
const browser = new Chromium(program);

// A page of a browser that has the cookie for the token.
async function open(options) {
  const page = await browser.open(options);
  await page.goto(entrance);
  await page.arrive(/\/$/);
  return page;
}

// Addresses of one task of each kind, found as a person would: by following the first link of each list.
async function findPages() {
  const page = await open();
  const pages = [['overview', '/'], ['overview-day', '/?period=day&sort=failed'], ['running', '/running'],
    ['upcoming', '/upcoming'], ['succeeded', '/succeeded'], ['failed', '/failed'], ['search', '/search?q=img_1'],
    ['search-form', '/search'], ['schedules', '/schedules'], ['empty', '/running?queue=no-such-queue'],
    ['search-nothing', '/search?q=zzzzzz'],
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
  const page = await open({scripts, colorScheme, width, height: 900});
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
  const page = await open({width: 1400, height: 900});
  let refused = false;  // then a failed load is what is looked for
  watch(page, origin, text => { if (!refused || !/ 403 /.test(text)) fault(`script: ${text}`); });
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
  await expect('j moves the focus to the next row', () => page.run(() => [...document.querySelectorAll('tr[data-row]')]
    .findIndex(row => row.contains(document.activeElement)) === 1));
  await page.press('k');
  await page.press('Enter');
  await page.arrive(/task/);
  await page.press('b');
  await page.arrive(/failed$/);
  for (const [key, address] of [['w', /running$/], ['s', /succeeded$/], ['n', /succeeded\?/], ['o', /:\d+\/$/]]) {
    await page.press(key);
    await page.arrive(address);
  }
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

  // Who may not look any more is told so, and asks no more.
  await page.goto(origin + '/upcoming');
  await updateEverySecond();
  refused = true;
  await page.send('Network.clearBrowserCookies');
  await expect('a page without the right to look says so',
    () => page.run(() => /may not look any more/.test(document.querySelector('#lost').textContent)));
  let asked = 0;
  page.on('Network.requestWillBeSent', () => ++asked);
  await sleep(2500);
  if (asked) fault('script: a page without the right to look goes on asking');
  await page.close();
}

// The layout where windows are small, on paper, and in the colours of the system.
async function tryLayout() {
  const page = await open({width: 1400, height: 900, colorScheme: 'dark'});
  watch(page, origin, text => fault(`layout: ${text}`));
  const media = (type, ...features) => page.send('Emulation.setEmulatedMedia',
    {media: type, features: features.map(([name, value]) => ({name, value}))});
  for (const [width, height] of [[1400, 900], [700, 700], [360, 640], [700, 450], [350, 225]]) {
    await page.resize(width, height);
    await page.goto(origin + '/failed');
    const covered = await page.run(() => {
      const header = document.querySelector('header'), links = [...document.querySelectorAll('main a')].reverse();
      scrollTo(0, document.body.scrollHeight);
      return links.filter(link => {
        link.focus();
        const sticky = getComputedStyle(header).position === 'sticky';
        return sticky && link.getBoundingClientRect().top < header.getBoundingClientRect().bottom;
      }).length;
    });
    if (covered) fault(`layout: the header covers ${covered} links that have the focus, ${width}×${height}`);
    const share = await page.run(() => getComputedStyle(document.querySelector('header')).position === 'sticky'
      ? document.querySelector('header').offsetHeight / innerHeight : 0);
    if (share > 0.25) fault(`layout: the header takes ${Math.round(share * 100)} % of a window of ${width}×${height}`);
  }
  await page.resize(1400, 900);
  await page.run(() => localStorage.setItem('backlite.theme', 'dark'));
  await page.goto(origin + '/failed');
  await media('print', ['prefers-color-scheme', 'dark']);
  const paper = await page.run(() => getComputedStyle(document.documentElement).backgroundColor);
  if (paper !== 'rgb(246, 247, 249)') fault(`layout: paper is ${paper}`);
  for (const part of ['.brand', 'footer time'])
    if (!await isVisible(page, part)) fault(`layout: ${part} is missing on paper`);
  for (const part of ['nav', '.live', '.filter'])
    if (await isVisible(page, part)) fault(`layout: ${part} is printed`);
  await media('', ['forced-colors', 'active']);
  await page.goto(origin + '/');
  const colors = await page.run(() => [...document.querySelectorAll('.key')].map(key =>
    getComputedStyle(key, '::before').backgroundColor));
  if (new Set(colors).size < 3) fault(`layout: in forced colours the legends show ${colors}`);
  const [current, other] = await page.run(() => [...document.querySelectorAll('nav a')].slice(0, 2).map(link =>
    getComputedStyle(link).borderBottomWidth));
  if (current === other) fault('layout: in forced colours the current page looks like the others');
  await page.close();
}

// A pick stays with its task while rows move; what harms is asked first; then the list says what was done.
async function tryActions() {
  for (const scripts of [true, false]) {
    const page = await open({scripts});
    await page.goto(origin + '/failed');
    const picked = await page.run(() => {
      const box = [...document.querySelectorAll('.pick [name=id]')].at(-1);  // the first ones are visited
      box.checked = true;
      return box.value;
    });
    if (scripts) {  // as if another list had come with the next update
      await page.run(() => {
        const rows = document.querySelector('tbody');
        rows.append(rows.firstElementChild);
        document.querySelector('h1').textContent = 'before the update';
      });
      await page.press('r');
      await page.until('the update', () => page.run(() => document.querySelector('h1').textContent === 'Failed'));
    }
    const boxes = await page.run(() => [...document.querySelectorAll('.pick [name=id]:checked')].map(box => box.value));
    if (boxes.length !== 1 || boxes[0] !== picked) fault(`actions: ${picked} was picked, and now ${boxes} are`);
    await page.click('button[value=remove]');
    await page.arrive(/\/act$/);
    const asked = await page.run(() => document.querySelector('form.acts [name=id]')?.value);
    if (asked !== picked) fault(`actions: ${picked} was picked, and ${asked} is asked about`);
    await page.click('form.acts button');
    await page.arrive(/\/failed.*did=/);
    const said = await page.run(() => document.querySelector('.notice')?.textContent);
    if (said !== '1 task removed.') fault(`actions: the page says ${said}`);
    await page.close();
  }
}

await Promise.all([visitAll(), tryScript(), tryLayout(), tryActions()].map(part => part.catch(error => fault(error.stack))));
await browser.close();
console.log(`${visits} pages seen, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
