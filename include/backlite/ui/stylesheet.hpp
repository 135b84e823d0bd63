// SPDX-License-Identifier: MIT
#pragma once
// The one stylesheet of the dashboard. No other host is asked for anything.

#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

inline constexpr std::string_view stylesheet =
    R"css(:root{--bg:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#566173;--line:#dde2ea;--accent:#1f5fbf;--ok:#156a3d;--bad:#b3261e;
--warn:#8a5300;--time:#6a4fb3;--hover:#eef2f8;--ok-bg:#e2f4ea;--bad-bg:#fbe6e4;--warn-bg:#fdf0d8;--info-bg:#e4edfa;--mute-bg:#eceff4;
--bar-ok:#3aa76d;--bar-bad:#d9534a;--bar-time:#8a74cf;--bar-due:#5b8fdd;--bar-wait:#b98212;--bar-left:#2f9aa0;color-scheme:light}
@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){--bg:#12161d;--card:#1a202a;--ink:#e6eaf1;--soft:#a3aec0;--line:#2c3543;
--accent:#84b3ff;--ok:#6fd6a0;--bad:#ff9a91;--warn:#f1c06a;--time:#bda9ff;--hover:#222a37;--ok-bg:#173226;--bad-bg:#3d1f1e;--warn-bg:#3a2d14;
--info-bg:#1b2c47;--mute-bg:#262e3b;--bar-ok:#3f9d6b;--bar-bad:#d0605a;--bar-time:#8f7ad0;--bar-due:#5486d0;color-scheme:dark}}
@media screen{:root[data-theme=dark]{--bg:#12161d;--card:#1a202a;--ink:#e6eaf1;--soft:#a3aec0;--line:#2c3543;--accent:#84b3ff;--ok:#6fd6a0;--bad:#ff9a91;
--warn:#f1c06a;--time:#bda9ff;--hover:#222a37;--ok-bg:#173226;--bad-bg:#3d1f1e;--warn-bg:#3a2d14;--info-bg:#1b2c47;--mute-bg:#262e3b;
--bar-ok:#3f9d6b;--bar-bad:#d0605a;--bar-time:#8f7ad0;--bar-due:#5486d0;color-scheme:dark}}
*{box-sizing:border-box}
html{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;background:var(--bg);color:var(--ink);
-webkit-text-size-adjust:100%;scroll-padding:8rem 0 2rem}
body{margin:0;display:flex;flex-direction:column;min-height:100vh}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
code,pre,kbd{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em}
.skip{position:absolute;left:-999px}
.skip:focus{left:8px;top:8px;background:var(--card);padding:6px 10px;z-index:2}
header{background:var(--card);border-bottom:1px solid var(--line);position:sticky;top:0;z-index:1}
.bar,nav,main,footer{max-width:1280px;width:100%;margin:0 auto;padding-left:20px;padding-right:20px}
.bar{display:flex;gap:8px 16px;align-items:center;padding-top:10px;flex-wrap:wrap}
.brand{color:var(--ink);display:flex;gap:8px;align-items:baseline;min-width:0}
.brand b{font-size:1.1rem;letter-spacing:-.01em}
.brand span{color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.brand:hover{text-decoration:none}
[role=search]{margin-left:auto;flex:0 1 280px}
input,select,button{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:6px;padding:4px 9px;min-height:34px}
button{cursor:pointer;background:var(--card)}
button:hover{background:var(--hover)}
[role=search] input{width:100%}
.live{display:flex;gap:8px;align-items:center;color:var(--soft);font-size:.87rem}
.live[hidden]{display:none}
#state:not(:empty){color:var(--warn)}
#lost{margin:0;background:var(--bad-bg);color:var(--bad);text-align:center}#lost:not(:empty){padding:7px 14px}
nav{display:flex;gap:2px;overflow-x:auto;scrollbar-width:none;padding-top:4px}
nav a{padding:8px 12px;color:var(--soft);border-bottom:2px solid transparent;white-space:nowrap}
nav a:first-child{margin-left:-12px}
nav a:hover{color:var(--ink);text-decoration:none}
nav a:focus-visible{outline-offset:-3px}
nav a[aria-current]{color:var(--ink);border-color:var(--accent);font-weight:600}
main{flex:1;padding-top:18px;padding-bottom:32px;outline:none}
h1{font-size:1.35rem;margin:0 0 14px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.02rem;margin:26px 0 10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:12px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;color:var(--ink);display:flex;flex-direction:column;min-width:0}
.tile:hover{border-color:var(--accent);text-decoration:none}
.tile span{color:var(--soft);font-size:.87rem}
.tile b{overflow-wrap:anywhere;font-size:1.75rem;line-height:1.25;font-variant-numeric:tabular-nums;letter-spacing:-.02em}
.tile small{color:var(--soft);font-size:.8rem;overflow-wrap:anywhere}
.tile.bad b{color:var(--bad)}
.tile.warn b,.tile.warn small{color:var(--warn)}
.back{margin:-6px 0 14px}
.switch{display:inline-flex;margin:18px 0 12px;border:1px solid var(--line);border-radius:7px;overflow:hidden;background:var(--card)}
.switch a{padding:5px 13px;color:var(--soft);font-size:.87rem}
.switch a+a{border-left:1px solid var(--line)}
.switch a[aria-current=true]{background:var(--info-bg);color:var(--ink);font-weight:600}
.switch a:focus-visible{outline-offset:-2px}
.charts>:last-child:nth-child(odd){grid-column:1/-1}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:12px}
.chart{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px 8px;min-width:0}
.chart figcaption{display:flex;gap:0 12px;font-size:.87rem;flex-wrap:wrap}
.chart figcaption span,.axis,.top{color:var(--soft)}
.chart figcaption :last-child{margin-left:auto}
.key::before{content:"";display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:5px}
.key.ok::before{background:var(--bar-ok)}.key.bad::before{background:var(--bar-bad)}.key.again::before{background:var(--bar-wait)}
.plot{position:relative;padding-top:15px}
.plot svg{display:block;width:100%;height:96px}
.top{position:absolute;right:0;top:0;font-size:.72rem;line-height:15px}
.axis{display:flex;justify-content:space-between;font-size:.72rem;padding-top:3px}
.grid{stroke:var(--line);fill:none;vector-effect:non-scaling-stroke}
path.ok{stroke:var(--bar-ok)}path.bad{stroke:var(--bar-bad)}path.time{stroke:var(--bar-time)}path.due{stroke:var(--bar-due)}path.wait,path.again{stroke:var(--bar-wait)}path.left{stroke:var(--bar-left)}
.hit{fill:transparent}.hit rect{width:1px;height:1px}.hit rect:hover{fill:var(--ink);fill-opacity:.08}
table{width:100%;border-collapse:separate;border-spacing:0;background:var(--card);border:1px solid var(--line);border-radius:10px;font-size:.93rem}
th,td{text-align:left;padding:8px 12px;border-top:1px solid var(--line);vertical-align:top;font-weight:400}
thead th{border-top:0;color:var(--soft);font-size:.8rem;white-space:nowrap}
thead a{color:inherit}
thead [aria-sort=descending] a::after{content:" ↓"}
thead [aria-sort=ascending] a::after{content:" ↑"}
tbody tr:hover{background:var(--hover)}
tbody tr:last-child>:first-child{border-bottom-left-radius:10px}
tbody tr:last-child>:last-child{border-bottom-right-radius:10px}
tr[data-row]:has(a:focus-visible)>*{box-shadow:inset 0 0 0 999px var(--info-bg)}
tbody th{overflow-wrap:anywhere}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.zero,.none{color:var(--soft)}
td.bad,td.bad a,button.bad{color:var(--bad)}
td.warn{color:var(--warn);font-weight:600}
.queue{display:inline-block;min-width:9em;overflow-wrap:anywhere}
::placeholder{color:var(--soft);opacity:1}
.id code{white-space:nowrap}
td.data{min-width:15em}.data code{color:var(--soft)}
.error span{color:var(--bad)}
.error span,.data code{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;overflow-wrap:anywhere}
time,.tasks td{font-variant-numeric:tabular-nums}
.tasks time,[data-label=Took]{white-space:nowrap}
.badge{display:inline-block;border-radius:99px;padding:0 9px;font-size:.82rem;line-height:1.65;background:var(--mute-bg);color:var(--ink);white-space:nowrap}
.badge.failed,.badge.dead{background:var(--bad-bg);color:var(--bad)}
.badge.succeeded,.badge.alive{background:var(--ok-bg);color:var(--ok)}
.badge.running{background:var(--info-bg);color:var(--accent)}
.badge.waiting{background:var(--warn-bg);color:var(--warn)}
.filter{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:end;margin-bottom:14px}
.filter label{display:flex;flex-direction:column;color:var(--soft);font-size:.8rem;gap:2px;min-width:0}
.filter input,.filter select{color:var(--ink);font-size:.93rem;background:var(--card)}
.filter a{padding:6px 4px}
#acts{border-left:3px solid var(--line);padding-left:12px}.pick{width:1px}.pick input{min-height:0;width:18px;height:18px}
.notice{background:var(--ok-bg);color:var(--ok);border-radius:8px;padding:7px 14px}.notice.warn{background:var(--warn-bg);color:var(--warn)}
.hint,.sum{color:var(--soft);font-size:.87rem;margin:10px 0}
.empty,.message{background:var(--card);border:1px dashed var(--line);border-radius:10px;padding:22px;color:var(--soft);margin:0 0 12px}
.message{color:var(--ink);border-style:solid}
.pages{display:flex;gap:16px;margin:14px 0}
.facts{display:flex;flex-wrap:wrap;gap:10px 32px;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.facts div{display:flex;flex-direction:column;gap:2px;min-width:0}
.facts div>span:first-child{color:var(--soft);font-size:.8rem}
.facts b{font-weight:600}
.facts .badge{align-self:flex-start}
.timeline{list-style:none;margin:0;padding:0 0 0 7px}
.timeline li{border-left:2px solid var(--line);padding:0 0 14px 18px;position:relative;line-height:1.45}
.timeline li:last-child{border-color:transparent;padding-bottom:0}
.timeline li::before{content:"";position:absolute;left:-7px;top:5px;width:12px;height:12px;border-radius:50%;background:var(--soft);border:2px solid var(--bg)}
.timeline b{display:block;font-weight:600}
.timeline time+time{color:var(--soft);margin-left:6px}
.timeline small{display:block;color:var(--soft);font-size:.85rem}
li.succeeded::before{background:var(--bar-ok)}li.failed::before{background:var(--bar-bad)}li.claimed::before{background:var(--bar-due)}
li.later::before{background:var(--bg);border-color:var(--soft)}
pre{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;overflow:auto;max-height:70vh;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
pre.trace{border-left:3px solid var(--bar-bad)}
.copy{min-height:0;padding:1px 9px;font-size:.82rem}
footer{color:var(--soft);font-size:.82rem;padding-top:12px;padding-bottom:18px;display:flex;gap:4px 18px;flex-wrap:wrap}
dialog{border:1px solid var(--line);border-radius:12px;background:var(--card);color:var(--ink);padding:20px 26px;max-width:92vw}
dialog h2{margin:0 0 12px}
dialog::backdrop{background:#0007}
dl{display:grid;grid-template-columns:auto 1fr;gap:7px 18px;margin:0 0 16px}dd{margin:0}
kbd{border:1px solid var(--line);border-bottom-width:2px;border-radius:4px;padding:0 6px;background:var(--bg)}
@media(max-width:720px){.bar,nav,main,footer{padding-left:14px;padding-right:14px}
[role=search]{order:3;flex:1 1 100%;margin:0}.live{margin-left:auto;gap:5px}.live label{font-size:0}.live select{font-size:.87rem;padding:4px}.brand span{max-width:22vw}
nav{gap:0}nav a{padding:8px 5px;font-size:.82rem}nav a:first-child{margin-left:-5px}.bar{gap:8px}
.tiles{grid-template-columns:1fr 1fr}.tile:last-child:nth-child(odd){grid-column:span 2}.tile b{font-size:1.45rem}
.cards,.cards tbody,.cards tr,.cards th,.cards td{display:block}
.cards thead{display:none}
.cards tbody tr{padding:9px 12px;border-top:1px solid var(--line)}
.cards tbody tr:first-child{border-top:0}
.cards th,.cards td{border:0;padding:2px 0;text-align:left;white-space:normal}
.cards td.pick{float:right;width:auto}.cards td::before{content:attr(data-label);color:var(--soft);font-size:.82rem;display:block}
.cards:not(.tasks) tbody tr{display:grid;grid-template-columns:repeat(3,1fr);gap:0 10px}.cards tbody th{grid-column:1/-1}.cards td.wide{grid-column:span 2}
.cards thead:has(a){display:block}.cards thead:has(a) tr{display:flex;flex-wrap:wrap;gap:2px 14px;padding:9px 12px;border-bottom:1px solid var(--line)}
thead:has(a) tr::before{content:"Sort by";color:var(--soft);font-size:.8rem}.cards thead th:not(:has(a)){display:none}
.tasks tbody td{display:inline-block;margin-right:16px}
.tasks td::before{display:inline;margin-right:6px}
.tasks tbody td.error,.tasks tbody td.data{display:block;margin:0}
.tasks td.error::before,.tasks td.data::before{display:none}
.cards td.error:has(span:empty){display:none}
.filter label{flex:1 1 130px}.filter label:has([type=datetime-local]){flex-basis:210px}.filter input,.filter select{width:100%}}
@media(prefers-reduced-motion:no-preference){.tile,nav a{transition:border-color .12s,color .12s}}
@media(max-width:720px){html{scroll-padding-top:11rem}}
@media(max-height:600px){html{scroll-padding-top:1rem}header{position:static}#lost{position:fixed;inset:auto 0 0;z-index:1}}
@media(forced-colors:active){.key::before,.plot svg,.timeline li::before{forced-color-adjust:none}nav a{border-color:Canvas;text-decoration:none}
nav a[aria-current]{border-color:Highlight;border-bottom-width:4px}.switch a{text-decoration:none}
.switch a[aria-current=true]{forced-color-adjust:none;background:Highlight;color:HighlightText}tr[data-row]:has(a:focus-visible)>*{outline:1px solid Highlight}}
@media print{nav,.live,.skip,#lost,[role=search],.filter,.pages,dialog{display:none}header{position:static;border:0}body{display:block}}
)css";

/// The mark beside the page's name in the browser.
inline constexpr std::string_view icon =
    R"svg(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5fbf"/>)svg"
    R"svg(<path d="M7 9h18v3.5H7zM7 14.5h13V18H7zM7 20h8v3.5H7z" fill="#fff"/></svg>)svg";

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
