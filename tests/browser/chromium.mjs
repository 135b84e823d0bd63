// SPDX-License-Identifier: MIT
// A small driver of Chromium, which needs nothing but Node. It speaks the DevTools protocol over two pipes: each
// message is a JSON text and a NUL. https://chromedevtools.github.io/devtools-protocol/ lists commands and events.
import {spawn} from 'node:child_process';
import {EventEmitter} from 'node:events';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

// The sandbox is refused to root; /dev/shm is small or missing in a container; a scroll bar would narrow the page.
// Whatever a page or Chromium itself asks for, no other machine is reached.
const flags = ['--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
  '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-popup-blocking', '--hide-scrollbars', '--mute-audio', '--no-proxy-server',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'];

// One process of Chromium. Once it ended, or a page of it crashed, all that is asked of it fails.
export class Chromium {
  patience = 60_000;  // milliseconds that anything may take; a slow machine may be busy with other tests
  failure = null;  // why it ended, an Error
  #process;
  #ended;
  #last = 0;
  #commands = new Map();
  #pages = new Map();

  constructor(program) {
    const home = mkdtempSync(join(tmpdir(), 'chromium-'));
    this.#process = spawn(program, [...flags, '--user-data-dir=' + home],
      {stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], env: {...process.env, HOME: home}});
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
    process.once('exit', () => {
      this.#process.kill('SIGKILL');
      rmSync(home, {recursive: true, force: true, maxRetries: 10});
    });
    const [, , errors, commands, answers] = this.#process.stdio;
    let said = '', rest = '';
    this.#ended = new Promise(resolve => this.#process.on('close', resolve));
    this.#process.on('close', (code, signal) => this.fail(`Chromium ended: ${signal ?? 'code ' + code}\n${said}`));
    this.#process.on('error', error => this.fail(`Chromium does not start: ${error.message}`));
    errors.setEncoding('utf8').on('data', text => { said = (said + text).slice(-2000); });
    commands.on('error', () => {});  // of a Chromium that ended, which is told above
    answers.setEncoding('utf8').on('data', text => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  send(method, params, sessionId) {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`${method}: no answer within ${this.patience} ms`));
      this.#commands.set(++this.#last, {method, resolve, reject, timer: setTimeout(late, this.patience)});
      this.#process.stdio[3].write(JSON.stringify({id: this.#last, method, params, sessionId}) + '\0');
    });
  }

  #receive({id, result, error, method, params, sessionId}) {
    if (!id) { this.#pages.get(sessionId)?.emit(method, params); return; }
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    clearTimeout(command.timer);
    if (error) command.reject(new Error(`${command.method}: ${error.message}`)); else command.resolve(result);
  }

  fail(reason) {
    this.failure ??= new Error(reason);
    for (const {reject, timer} of this.#commands.values()) { clearTimeout(timer); reject(this.failure); }
  }

  // A page in a context of its own, which knows nothing of the others.
  async open({width = 1280, height = 720, colorScheme = 'light', scripts = true} = {}) {
    const {browserContextId} = await this.send('Target.createBrowserContext');
    const {targetId} = await this.send('Target.createTarget', {url: 'about:blank', browserContextId});
    const {sessionId} = await this.send('Target.attachToTarget', {targetId, flatten: true});
    const page = new Page(this, sessionId, browserContextId);
    this.#pages.set(sessionId, page);
    await Promise.all([
      ...['Inspector', 'Page', 'Runtime', 'Log', 'Network', 'Audits'].map(domain => page.send(domain + '.enable')),
      page.send('Page.setLifecycleEventsEnabled', {enabled: true}),
      page.send('Emulation.setFocusEmulationEnabled', {enabled: true}),
      page.send('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: colorScheme}]}),
      page.send('Emulation.setScriptExecutionDisabled', {value: !scripts}),
      page.resize(width, height),
    ]);
    return page;
  }

  close(signal = 'SIGTERM') {
    this.#process.kill(signal);
    return this.#ended;
  }
}

// Emits the events of the protocol by their names.
class Page extends EventEmitter {
  #browser;
  #session;
  #context;
  #frame = {};
  #loaded = new Set();
  #statuses = new Map();

  constructor(browser, session, context) {
    super();
    this.#browser = browser;
    this.#session = session;
    this.#context = context;
    this.on('Page.frameNavigated', ({frame}) => { if (!frame.parentId) this.#frame = frame; });
    this.on('Page.lifecycleEvent', ({name, loaderId}) => { if (name === 'load') this.#loaded.add(loaderId); });
    this.on('Network.responseReceived', ({requestId, response}) => this.#statuses.set(requestId, response.status));
    this.on('Page.javascriptDialogOpening',  // the page stands still until it is answered
      () => this.send('Page.handleJavaScriptDialog', {accept: false}).catch(() => {}));
    this.on('Inspector.targetCrashed', () => browser.fail('a page crashed'));
  }

  send(method, params) { return this.#browser.send(method, params, this.#session); }
  close() { return this.#browser.send('Target.disposeBrowserContext', {browserContextId: this.#context}); }

  // Loads a page, and answers with its status.
  async goto(url) {
    const {loaderId, errorText} = await this.send('Page.navigate', {url});
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until(`${url} is loaded`, () => this.#loaded.has(loaderId));
    return this.#statuses.get(loaderId);
  }

  // Waits for the page that a key or a click leads to.
  arrive(address) {
    const isThere = () => address.test(this.#frame.url) && this.#loaded.has(this.#frame.loaderId);
    return this.until(`${address} is loaded`, isThere);
  }

  async until(what, check) {
    for (const end = Date.now() + this.#browser.patience; !await check(); await sleep(5)) {
      if (this.#browser.failure) throw this.#browser.failure;
      if (Date.now() > end) throw new Error(`not within ${this.#browser.patience} ms: ${what}`);
    }
  }

  // The value of code in the page: an expression, or a function and what to call it with.
  async run(code, ...values) {
    const call = `(${code})(${values.map(value => JSON.stringify(value)).join()})`;
    const {result, exceptionDetails: thrown} = await this.send('Runtime.evaluate',
      {expression: typeof code === 'function' ? call : code, awaitPromise: true, returnByValue: true});
    if (thrown) throw new Error(thrown.exception?.description ?? thrown.text);
    return result.value;
  }

  async type(text) { for (const key of text) await this.press(key); }

  async press(key) {
    const named = {Enter: {text: '\r', windowsVirtualKeyCode: 13}, Escape: {windowsVirtualKeyCode: 27}};
    const event = {key, ...named[key] ?? {text: key}};
    await this.send('Input.dispatchKeyEvent', {...event, type: 'keyDown'});
    await this.send('Input.dispatchKeyEvent', {...event, type: 'keyUp'});
  }

  moveMouse(x, y) { return this.send('Input.dispatchMouseEvent', {type: 'mouseMoved', x, y}); }

  // Moves the mouse to the middle of the element, and answers with where that is.
  async hover(selector) {
    const {x, y} = await this.run(selector => {
      const element = document.querySelector(selector);
      element.scrollIntoView({block: 'nearest'});
      const box = element.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
      if (!element.contains(document.elementFromPoint(x, y))) throw new Error(selector + ' is covered');
      return {x, y};
    }, selector);
    await this.moveMouse(x, y);
    return {x, y};
  }

  async click(selector) {
    const left = {...await this.hover(selector), button: 'left', clickCount: 1};
    await this.send('Input.dispatchMouseEvent', {...left, type: 'mousePressed'});
    await this.send('Input.dispatchMouseEvent', {...left, type: 'mouseReleased'});
  }

  resize(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: false});
  }

  // Of the window, or of the whole page, which may be longer.
  async screenshot(file, whole) {
    const {cssContentSize} = await this.send('Page.getLayoutMetrics');
    const {data} = await this.send('Page.captureScreenshot',
      {...whole && {clip: {...cssContentSize, scale: 1}, captureBeyondViewport: true}, optimizeForSpeed: true});
    writeFileSync(file, Buffer.from(data, 'base64'));
  }
}
