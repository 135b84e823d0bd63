// SPDX-License-Identifier: MIT
// node selftest.mjs CHROMIUM: plants faults in pages of its own and sees that the checks of the other scripts report
// each, that they do not blame a sound page, and that what hangs or crashes is an error and no success.
import {createServer} from 'node:http';
import {findFaint, findStrangers, findUnnamed, findWide, isVisible, watch, watchHits} from './checks.mjs';
import {Chromium} from './chromium.mjs';

const [program] = process.argv.slice(2);
const csp = "default-src 'none'; script-src 'self'; img-src data:";
const pixel = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==';
const sound = `<style>h1{background:url(${pixel})}</style><h1>Sound</h1><a href=/0>Home</a><input type=hidden>` +
  '<label>Name <input></label>';
const wide = pixels => `<div style="position:absolute;left:0;width:${pixels}px;height:1px"></div>`;
const script = code => `<script>${code}</script>`;

// Name, what is in the page, all that must be reported of it (nothing: it is sound), and how it differs from a usual
// page. No two have reports in common, so that none is seen through the report of another.
const both = [true, false];  // with scripts and without
const plants = [
  ['a sound page', sound, [], {csp: csp + "; style-src 'unsafe-inline'", scripts: both}],
  ['a page that just fits', wide(360), [], {width: 360, scripts: both}],
  ['a page that is too wide', wide(361), [/^361 px wide in a window of 360/], {width: 360, scripts: both}],
  ['a wide page that is too wide', wide(1401), [/^1401 px wide in a window of 1400/], {width: 1400}],
  ['a script against the policy', script('1'), [/^log: .*inline script/, /^Content.*: script-src-elem/], {csp}],
  ['a handler against the policy', '<svg onload=1>', [/^log: .*event handler/, /^Content.*: script-src-attr/], {csp}],
  ['a style against the policy', '<p style="color:red">', [/^log: .*style/, /^Content.*: style-src/],
    {csp, scripts: both}],
  ['an image against the policy', '<img src=http://foreign.test/policy>', [/^log: .*policy/, /^Content.*: img-src/],
    {csp, scripts: both}],
  ['a foreign image', '<img src=http://foreign.test/image>', [/^foreign request: .*image/], {scripts: both}],
  ['a foreign fetch', script('fetch("http://foreign.test/fetch").catch(() => 1)'), [/^foreign request: .*fetch/]],
  ['a foreign socket', script('new WebSocket("ws://foreign.test/socket")'), [/^foreign request: .*socket/]],
  ['an image that is missing', '<img src=/missing>', [/^log: Failed to load.* 404 .*missing/], {scripts: both}],
  ['an error on the console', script('console.error("printed", 1)'), [/^console: printed 1/]],
  ['an exception', script('throw new Error("thrown")'), [/^exception: .*thrown/]],
  ['a rejected promise', script('Promise.reject(new Error("rejected"))'), [/^exception: .*rejected/]],
  ['an alert', script('alert("shown")'), [/^a dialog of a script: shown/]],
  ['a window', script('open("/0?opened")'), [/^a window is opened: .*opened/]],
  ['faint text', '<p style="color:#999">faint', [/^contrast 2\.8\d of <p/], {scripts: both}],
  ['a control without a name', '<input id=nameless>', [/^a control without a name: .*nameless/], {scripts: both}],
  ['markup that runs', '<svg id=runs onload=hit()>', [/^a script of the file ran/, /^an element of the file: .*runs/]],
  ['markup that rests', '<svg id=rests onload=hit()>', [/^an element of the file: .*rests/], {scripts: [false]}],
];

const server = createServer(({url}, reply) => {
  const [name, content, , options] = plants[parseInt(url.slice(1))] ?? [];
  if (url === '/never') return;
  if (!name) { reply.writeHead(url === '/favicon.ico' ? 200 : 404).end('none'); return; }
  reply.writeHead(200, {'Content-Type': 'text/html', ...options?.csp && {'Content-Security-Policy': options.csp}});
  reply.end(`<!DOCTYPE html><meta charset=utf-8><title>${name}</title>${content}`);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${server.address().port}`;

let faults = 0;
function judge(what, good, found) {
  if (!good) ++faults;
  console.log(good ? what : `FAULT not ${what}, but: ${found}`);
}
// What `action` must end with is an error.
async function fails(name, expected, action) {
  const text = await action().then(() => 'no error', error => error.message);
  judge('an error: ' + name, expected.test(text), text);
}

let browser = new Chromium(program);
for (const scripts of both) {
  for (const width of [360, 1280, 1400]) {
    const page = await browser.open({scripts, width});
    let found = [];
    watch(page, origin, text => found.push(text));
    await watchHits(page);
    for (const [index, [name, , expected, options = {}]] of plants.entries()) {
      if ((options.width ?? 1280) !== width || !(options.scripts ?? [true]).includes(scripts)) continue;
      found = [];
      await page.goto(`${origin}/${index}`);
      for (const find of [findWide, findFaint, findUnnamed, findStrangers]) found.push(...await find(page));
      const isReported = () => expected.every(report => found.some(text => report.test(text)));
      await page.until(name, isReported).catch(() => {});
      judge(`${expected.length ? 'reported' : 'left alone'}: ${name}${scripts ? '' : ', without scripts'}`,
        isReported() && (expected.length || !found.length), JSON.stringify(found));
    }
    await page.close();
  }
}

// A page is seen as it was asked for.
for (const [scripts, colorScheme] of [[true, 'dark'], [false, 'light']]) {
  const page = await browser.open({scripts, colorScheme, width: 360, height: 500});
  const style = '<style>i{display:none}@media(prefers-color-scheme:dark){i{display:inline}}</style>';
  await page.goto(`data:text/html,<!DOCTYPE html>${style}<i>i</i><b hidden>b</b>${script('document.title="ran"')}`);
  const is = [await isVisible(page, 'i'), await isVisible(page, 'b'),
    await page.run('[document.title, innerWidth, innerHeight].join()')].join();
  judge(`as asked for: ${colorScheme}, ${scripts ? 'with' : 'without'} scripts`,
    is === [colorScheme === 'dark', false, scripts ? 'ran' : '', 360, 500].join(), is);
  await page.close();
}

// No failure hangs, or is taken for success.
{
  const page = await browser.open();
  judge('told: a status', await page.goto(origin + '/missing') === 404, 'another one');
  await fails('a host that is not there', /ERR_NAME_NOT_RESOLVED/, () => page.goto('http://foreign.test/'));
  await fails('an expression that throws', /thrown/, () => page.run('{ throw new Error("thrown") }'));
  await fails('a command that does not exist', /Planted/, () => page.send('Planted.command'));
  await fails('a page that crashes', /a page crashed/, async () => (await browser.open()).send('Page.crash'));
  await fails('what is asked after that', /a page crashed/, () => browser.open());
  await browser.close();
}
browser = new Chromium(program);
{
  const page = await browser.open();
  browser.patience = 300;
  await fails('what does not become true', /not within/, () => page.until('false', () => false));
  await fails('a page that does not come', /no answer within|not within/, () => page.goto(origin + '/never'));
  await fails('a script that does not end', /no answer within/, () => page.run('for (;;);'));
  browser.patience = 60_000;
  const waiting = page.run('new Promise(() => {})');
  await browser.close('SIGKILL');
  await fails('Chromium dies', /Chromium ended: SIGKILL/, () => waiting);
}
await fails('no Chromium', /Chromium does not start/, () => new Chromium('/nowhere').open());

console.log(`self-test: ${faults} faults`);
process.exit(faults ? 1 : 0);
