"""How the page looks: by light and by dark, on a wall, on a telephone, on paper."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --sheet: #f6f7f9; --ink: #1b1f24; --dim: #5b6470; --rule: #d9dde3;
  --good: #1a7f4b; --bad: #c0322b; --busy: #2563b8; --accent: #2563b8;
  --line0: #2563b8; --line1: #c2620a; --phase0: #8a94a3; --phase1: #5b8def; --phase2: #2f9e6e; --phase3: #b98320;
  --phase4: #7a6fd0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --sheet: #1d2126; --ink: #e6e9ee; --dim: #9aa4b2; --rule: #333a43;
    --good: #4cc38a; --bad: #ff7b72; --busy: #79a8ff; --accent: #79a8ff; --line0: #79a8ff; --line1: #f0a35a;
    --phase0: #7d8896; --phase1: #6f9df2; --phase2: #43b581; --phase3: #d6a148; --phase4: #9d94ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 28px 0 8px; }
a { color: var(--accent); }
.dim { color: var(--dim); }
.head { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
.state { border: 1px solid; border-radius: 99px; padding: 0 10px; font-size: .85rem; font-weight: 600;
  color: var(--busy); white-space: nowrap; }
.state.finished { color: var(--good); } .state.failed { color: var(--bad); }
article { border-top: 1px solid var(--rule); margin-top: 36px; padding-top: 28px; }
article.only { border: 0; margin-top: 0; padding-top: 0; }
.remark { border-left: 3px solid var(--busy); padding: 6px 12px; margin: 12px 0; background: var(--sheet);
  overflow-wrap: anywhere; }
.fault { border: 1px solid var(--rule); border-left: 4px solid var(--bad); border-radius: 6px; padding: 10px 14px;
  margin: 14px 0; overflow-wrap: anywhere; break-inside: avoid; }
.fault p { margin: 4px 0 0; }
.fault .code { font-weight: 600; color: var(--bad); }
.fault .detail { white-space: pre-wrap; font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; margin: 18px 0 0; }
.tile { background: var(--sheet); border-radius: 8px; padding: 8px 12px; break-inside: avoid; }
.tile b { display: block; font-size: 1.1rem; overflow-wrap: anywhere; }
.tile span { color: var(--dim); font-size: .82rem; }
.span { display: grid; grid-template-columns: 150px 1fr 96px; gap: 10px; align-items: center; font-size: .88rem; }
.span > :first-child { overflow-wrap: anywhere; line-height: 1.25; }
.span > :last-child { text-align: right; font-variant-numeric: tabular-nums; color: var(--dim); }
.track { position: relative; height: 20px; border-left: 1px solid var(--rule); border-right: 1px solid var(--rule); }
.bar { position: absolute; top: 4px; bottom: 4px; min-width: 2px; border-radius: 2px; background: var(--phase0);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.phase1 { background: var(--phase1); } .phase2 { background: var(--phase2); } .phase3 { background: var(--phase3); }
.phase4 { background: var(--phase4); }
.bar.open { border-radius: 2px 0 0 2px; mask-image: linear-gradient(90deg, #000 70%, transparent); }
.key { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .82rem; color: var(--dim); margin: 6px 0 0; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px;
  background: var(--phase0); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.key i.phase1 { background: var(--phase1); } .key i.phase2 { background: var(--phase2); }
.key i.phase3 { background: var(--phase3); } .key i.phase4 { background: var(--phase4); }
.key i.line0 { background: var(--line0); } .key i.line1 { background: var(--line1); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 310px), 1fr)); gap: 18px 20px; }
figure { margin: 0; break-inside: avoid; } figcaption.key { margin: 0 0 0 11%; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font-size: 11px; } svg .title { fill: var(--ink); font-size: 12.5px; font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--dim); stroke-width: 1; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line.line0 { stroke: var(--line0); } .line.line1 { stroke: var(--line1); }
.dot.line0 { fill: var(--line0); } .dot.line1 { fill: var(--line1); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th { text-align: left; color: var(--dim); font-weight: 600; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td .dim { font-size: .82rem; }
tr { break-inside: avoid; }
dl { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 3px 18px; margin: 0; font-size: .9rem; }
dt { color: var(--dim); overflow-wrap: anywhere; max-width: 280px; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--sheet); border-radius: 6px; padding: 10px 12px; margin: 8px 0 0; font-size: .8rem;
  overflow: auto; max-height: 420px; font-family: ui-monospace, "DejaVu Sans Mono", monospace; line-height: 1.45;
  white-space: pre-wrap;
  overflow-wrap: anywhere; }
details { margin: 10px 0 0; } summary { cursor: pointer; font-weight: 600; } summary .dim { font-weight: 400; }
article > details { margin: 0; } article > details > summary .head { display: inline-flex; }
footer { margin-top: 44px; font-size: .82rem; }
@media (max-width: 640px) {
  body { padding: 16px 14px 40px; }
  .span { grid-template-columns: 92px 1fr 74px; gap: 6px; }
  .fold, .fold tbody, .fold tr, .fold td { display: block; } .fold thead { display: none; }
  .fold tr { border-bottom: 1px solid var(--rule); padding: 8px 0; }
  .fold td, .fold td.number { border: 0; padding: 1px 0; text-align: left; white-space: normal; }
  .fold td:empty { display: none; }
  .fold td[data-label]::before { content: attr(data-label) " "; color: var(--dim); }
  dl { grid-template-columns: 1fr; } dd { margin: 0 0 6px; } }
@media print {
  :root { --paper: #fff; --sheet: #f4f4f4; --ink: #000; --dim: #444; --rule: #ccc; }
  body { max-width: none; padding: 0; font-size: 11px; } pre { max-height: none; } a { color: inherit; }
  article { break-before: page; } article.only, article:first-of-type { break-before: auto; }
  details::details-content { content-visibility: visible; block-size: auto; } h3 { break-after: avoid; } }
"""
