// SPDX-License-Identifier: MIT
#pragma once
// The one script of the dashboard. Every page works without it; with it, pages stay up to date and obey the keyboard.

#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

inline constexpr std::string_view script = R"js('use strict';
(() => {
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
// Storage may be forbidden; then choices last as long as the page.
const kept = {
  get(key) { try { return localStorage.getItem('backlite.' + key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem('backlite.' + key, value); } catch { /* not kept */ } },
};

// ---- light and dark; before anything of the page is drawn
const root = document.documentElement;
const setTheme = theme => { if (theme) root.dataset.theme = theme; };
setTheme(kept.get('theme'));

document.addEventListener('DOMContentLoaded', () => {

// ---- times
const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
const span = seconds => {
  seconds = Math.floor(seconds);
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0 s';
  const [name, size] = units[first];
  const rest = first < 3 ? Math.floor(seconds % size / units[first + 1][1]) : 0;
  return Math.floor(seconds / size) + ' ' + name + (rest ? ' ' + rest + ' ' + units[first + 1][0] : '');
};
// The server's clock is the one that counts: what the page said it was, and the time since.
let served = Date.now(), loaded = Date.now();
const clock = () => served + Date.now() - loaded;
const readClock = page => {
  const time = $('footer time', page);
  if (time) { served = Date.parse(time.dateTime); loaded = Date.now(); }
};
const full = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'long'});
const minute = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'});
const second = new Intl.DateTimeFormat(undefined, {timeStyle: 'medium'});
const day = new Intl.DateTimeFormat(undefined, {month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit'});
const showTimes = (within, ticking) => {
  const now = clock();
  for (const time of $$('time', within)) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    let text = null;
    if ('ago' in time.dataset) {
      const seconds = (now - at) / 1000;
      text = Math.abs(seconds) < 1 ? 'now' : seconds > 0 ? span(seconds) + ' ago' : 'in ' + span(-seconds);
    } else if ('age' in time.dataset) {
      text = span(Math.max(0, (now - at) / 1000));
    } else if (!ticking) {
      if ('local' in time.dataset) text = full.format(at);
      if ('clock' in time.dataset) text = (time.dataset.clock === 'day' ? day : minute).format(at);
    }
    if (!ticking && time.title) time.title = full.format(at);
    if (text !== null && time.textContent !== text) time.textContent = text;
  }
};
const dress = page => {
  showTimes(page, false);
  for (const bar of $$('.hit rect', page)) {
    const hint = bar.firstChild, bars = bar.closest('.hit').dataset;
    const at = Number(bars.from) + Number(bar.getAttribute('x')) * Number(bars.step);
    hint.textContent = day.format(at) + hint.textContent.slice(hint.textContent.indexOf(' · '));
  }
  for (const own of $$('form [name=zone]', page)) {
    // The server took the times in the form for those of the zone in the address: they become the reader's.
    const shift = zone - Number(own.getAttribute('value'));
    for (const input of $$('[type=datetime-local]', own.form)) {
      const at = Date.parse(input.getAttribute('value') + 'Z');
      if (!Number.isNaN(at)) input.setAttribute('value', new Date(at + shift * 60000).toISOString().slice(0, 19));
    }
    own.setAttribute('value', zone);
    for (const note of $$('[data-zone]', own.form)) note.textContent = '';
  }
  const note = $('#zone', page);
  if (note) note.textContent = 'Times are of ' + Intl.DateTimeFormat().resolvedOptions().timeZone + '.';
  for (const button of $$('.copy, .every', page)) button.hidden = false;
};

// ---- staying up to date
// Changes a tree into another one node by node: what stays keeps its focus, its selection and its scroll position.
const merge = (old, fresh) => {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
  if (old.nodeType !== 1) { if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue; return; }
  if (old.isEqualNode(fresh)) return;
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old === document.activeElement && 'value' in old) return;
  const olds = [...old.childNodes], news = [...fresh.childNodes];
  news.forEach((node, i) => { if (i < olds.length) merge(olds[i], node); else old.append(node); });
  olds.slice(news.length).forEach(node => node.remove());
};
const live = $('#live'), rate = $('#rate'), state = $('#state'), lost = $('#lost');
let tag = null, timer = 0, busy = false, refused = false, pending = null, failures = 0, answered = 0;
const say = (text, where = state) => { if (where.textContent !== text) where.textContent = text; };
const pointed = () => $$('tr[data-row]:hover').length > 0;
const selecting = () => { const s = getSelection(); return s && !s.isCollapsed && $('#main').contains(s.anchorNode); };
const editing = () => { const a = document.activeElement; return a && a.closest('main form'); };
const picked = () => $$('.pick :checked');
const waits = () => pointed() || selecting() || editing() || picked().length > 0;
const still = $('[data-still]') !== null;  // what an order was answered with: it has no address
const apply = () => {
  const page = pending;
  if (!page) return;
  pending = null;
  const chosen = picked().map(box => box.value);
  say('');
  readClock(page);
  dress(page);
  const focused = document.activeElement?.matches('tr[data-row] a') ? document.activeElement.href : null;
  merge($('#main'), $('#main', page));
  // Rows have moved under the boxes too: a pick stays with its task.
  for (const box of $$('.pick [name]')) box.checked = chosen.includes(box.value);
  merge($('footer'), $('footer', page));
  document.title = page.title;
  // Rows have moved under the focus, which stays with the task.
  if (focused && document.activeElement?.href !== focused) {
    const link = $$('tr[data-row] a').find(a => a.href === focused);
    if (link) link.focus({preventScroll: true});
  }
};
// Days are of the reader's zone: the server is told how far that is ahead of UTC.
const zone = -new Date().getTimezoneOffset();
const address = () => location.pathname + (location.search || '?') + '&zone=' + zone;
const poll = async force => {
  if (busy || refused || still) return;
  busy = true;
  let reason = '';
  try {
    const headers = tag ? {'If-None-Match': tag} : {};
    const signal = AbortSignal.timeout?.(10000);
    const reply = await fetch(address(), {headers, signal, cache: 'no-store', credentials: 'same-origin'});
    refused = reply.status === 401 || reply.status === 403;
    const isHtml = (reply.headers.get('Content-Type') || '').startsWith('text/html');
    const page = isHtml ? new DOMParser().parseFromString(await reply.text(), 'text/html') : null;
    const ours = page && $('#main', page) && $('footer time', page);
    if (reply.status !== 304 && !ours) {  // of a proxy, a portal, or somebody who may not look
      reason = ' (status ' + reply.status + ')';
      throw new Error(reason);
    }
    failures = 0;
    answered = clock();
    say('', lost);
    if (!page) { if (!pending) say(''); return; }
    pending = page;
    tag = reply.ok ? reply.headers.get('ETag') : null;
    // A list must not move under the pointer, nor a text while it is marked: the news wait.
    if (force || !waits()) apply(); else say('News: r');
  } catch {
    const known = 'showing what was known at ' + second.format(answered) + '.';
    if (refused) say('You may not look any more; ' + known + ' Load the page again to log in.', lost);
    else if (++failures > 1) say('No answer since ' + second.format(answered) + reason + '; ' + known, lost);
  } finally {
    busy = false;
  }
};
const schedule = () => {
  clearTimeout(timer);
  const seconds = Number(rate.value);
  if (!seconds || document.hidden || refused || lookedOn) return;
  // After a first failure soon again: a second one is told.
  const pause = failures === 1 ? 1 : seconds * Math.min(1 + failures, 10);
  timer = setTimeout(async () => { await poll(false); schedule(); }, pause * 1000);
};
document.addEventListener('visibilitychange', () => { if (!document.hidden && Number(rate.value)) poll(false); schedule(); });
document.addEventListener('pointerout', () => { if (pending && !waits()) apply(); });
rate.value = kept.get('rate') ?? '2';
if (rate.selectedIndex < 0) rate.value = '2';
let before = rate.value === '0' ? '2' : rate.value;
const setRate = value => { if (value !== '0') before = value; rate.value = value; kept.set('rate', value); schedule(); };
rate.addEventListener('change', () => setRate(rate.value));
$('#theme').addEventListener('click', () => {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  setTheme(dark ? 'light' : 'dark');
  kept.set('theme', root.dataset.theme);
});

// ---- looking on
// A look at many rows stops after a moment and says so. It goes on by itself until it has found enough or took too long.
// From then on the page shows more than its address does, so it is not kept up to date: r begins anew.
let lookedOn = false;
const lookOn = async part => {
  const until = Date.now() + 10000;
  for (let link; (link = $('a[data-follow]', part)) && $$('tr[data-row]', part).length < 50 && Date.now() < until;) {
    lookedOn = true;
    link.textContent = 'Looking…';
    const reply = await fetch(link.href, {signal: AbortSignal.timeout?.(10000), cache: 'no-store', credentials: 'same-origin'});
    const page = new DOMParser().parseFromString(await reply.text(), 'text/html');
    const more = $(`[data-part="${part.dataset.part}"]`, page);
    if (!reply.ok || !more) { link.textContent = 'Look on »'; return; }
    dress(more);
    const rows = $('tbody', part), fresh = $('tbody', more);
    if (rows && fresh) rows.append(...fresh.children);
    for (const old of $$(':scope > .hint, :scope > .pages', part)) old.remove();
    if (rows) part.append(...$$(':scope > .hint, :scope > .pages', more)); else part.append(...more.childNodes);
  }
  if (lookedOn && !$('tr[data-row]', part) && !$('a[data-follow]', part)) {
    const nothing = document.createElement('p');
    nothing.className = 'empty';
    nothing.textContent = 'Nothing found: all was looked through.';
    part.prepend(nothing);
  }
};

// ---- copying; navigator.clipboard is missing on plain http
document.addEventListener('click', event => {
  const button = event.target.closest('.copy');
  if (!button) return;
  const pre = button.closest('p').nextElementSibling, range = document.createRange();
  range.selectNodeContents(pre);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  button.textContent = document.execCommand('copy') ? 'Copied' : 'Press Ctrl+C';
});

// ---- picking; with Shift all from the last one on
let last = null;
document.addEventListener('click', event => {
  const box = event.target;
  if (!box.matches('.pick input')) return;
  const all = $$('.pick [name=id]', box.closest('table')), from = all.indexOf(last), to = all.indexOf(box);
  if (box.className) for (const other of all) other.checked = box.checked;
  else if (event.shiftKey && from >= 0) for (const other of all.slice(Math.min(from, to), Math.max(from, to))) other.checked = box.checked;
  last = box;
});

// ---- keyboard
// The focus goes from row to row, so that Enter opens the task and a screen reader says where one is.
const step = by => {
  const links = $$('tr[data-row]').map(row => $('a', row)).filter(link => link);
  const row = document.activeElement?.closest('tr[data-row]');
  const at = row ? links.indexOf($('a', row)) + by : by > 0 ? 0 : links.length - 1;
  links[Math.max(0, Math.min(links.length - 1, at))]?.focus();
};
const follow = link => { if (link) location.href = link.href; };
const go = index => follow($$('nav a')[index]);
const keys = {
  '/': () => $('#q').focus(), '?': () => $('#keys').showModal(), j: () => step(1), k: () => step(-1),
  o: () => go(0), w: () => go(1), u: () => go(2), s: () => go(3), f: () => go(4),
  n: () => follow($('.pages a[rel=next]')), b: () => history.back(),
  p: () => setRate(rate.value === '0' ? before : '0'),
  r: () => { if (refused || lookedOn) location.reload(); else if (pending) apply(); else poll(true); },
};
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('#keys').open) return;
  if (event.target.closest('input, select, textarea, button, a') && (event.key === 'Enter' || event.target.matches('input, select, textarea'))) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const action = keys[event.key];
  if (action) { event.preventDefault(); action(); }
});
$('#help').addEventListener('click', () => $('#keys').showModal());

readClock(document);
answered = served;
dress(document);
live.hidden = false;
setInterval(() => { if (!document.hidden) showTimes(document, true); }, 1000);
for (const part of $$('[data-part]')) lookOn(part).catch(() => {});
schedule();
if (zone && $('#days')) poll(true);
});
})();
)js";

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
