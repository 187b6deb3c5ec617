"""How the page of a report looks, by day and by night, on a screen, a phone and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1d2125; --soft: #5b646d; --line: #dfe2e0;
  --made: #2f6f8f; --below: #c9772b; --warn: #8a4b08; --warn-paper: #fdf3e3; --good: #2c7a4b; --bad: #a9342c;
  --outline: #ff2bd6; --other: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1c2024; --ink: #e7e9ea; --soft: #9ba5ae; --line: #30363c;
    --made: #6db4d6; --below: #e39a55; --warn: #f2c58a; --warn-paper: #2c2418; --good: #72c695; --bad: #ef8a82;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
footer { padding-bottom: 48px; color: var(--soft); font-size: 14px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; font-weight: 650; }
h2 { font-size: 22px; line-height: 1.3; margin: 56px 0 12px; padding-top: 20px;
  border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 28px 0 8px; }
p { margin: 0 0 12px; max-width: 72ch; }
a { color: var(--made); }
h2:first-child { margin-top: 36px; }
.soft { color: var(--soft); }
.small { font-size: 14px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 12px;
  margin: 24px 0 0; padding: 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.figures dt { color: var(--soft); font-size: 14px; }
.figures dd { margin: 0; font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums;
  line-height: 1.25; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 20px 0 0;
  font-size: 15px; }
.notes { list-style: none; padding: 0; margin: 0; display: grid; gap: 8px; }
.notes li {
  border: 1px solid var(--line); border-left: 4px solid var(--line); background: var(--card); border-radius: 6px;
  padding: 9px 14px;
}
.notes li.warning { border-left-color: var(--below); background: var(--warn-paper); }
.notes b { margin-right: 4px; }
.notes .warning b { color: var(--warn); }
.notes .hint b { color: var(--soft); font-weight: 600; }
.scroll { overflow-x: auto; }
table { overflow-wrap: break-word; border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: 15px; }
th, td { text-align: right; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; }
td:not(.text), thead th { white-space: nowrap; }
th:first-child, td.text, th.text { text-align: left; }
td.mono, code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 13px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 14px 12px;
  margin: 0 0 8px; }
figure { margin: 0; min-width: 0; }
.frame {
  position: relative; display: flex; align-items: center; justify-content: center; aspect-ratio: 1;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; overflow: hidden;
}
.frame .picture { position: relative; display: block; }
.frame img { width: 100%; height: 100%; display: block; }
.frame svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.frame .none { color: var(--soft); font-size: 13px; }
.halo { fill: none; stroke: #000; stroke-opacity: .55; stroke-width: 3px; vector-effect: non-scaling-stroke; }
.edge { fill: none; stroke: var(--outline); stroke-width: 1.4px; vector-effect: non-scaling-stroke; }
.edge.other { stroke: var(--other); stroke-dasharray: 3 2; }
body:has(#outlines:not(:checked)) .frame svg { display: none; }
.frame:hover svg { opacity: 0; }
figcaption { font-size: 13px; line-height: 1.35; margin-top: 5px; }
figcaption .name { display: block; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.switch { display: inline-flex; gap: 8px; align-items: center; margin-top: 18px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 18px 24px; }
.chart { display: flex; flex-direction: column; }
.chart h4 { margin: 0; font-size: 14px; font-weight: 600; display: flex; justify-content: space-between;
  gap: 8px; }
.chart h4 span { font-weight: 400; font-variant-numeric: tabular-nums; white-space: nowrap; }
.chart p { margin: 0 0 4px; font-size: 13px; line-height: 1.3; color: var(--soft); }
.chart svg { display: block; margin-top: auto; flex: none; width: 100%; height: 64px;
  border-bottom: 1px solid var(--soft); }
.axis { display: flex; justify-content: space-between; font-size: 12px; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.made { fill: var(--made); } .below { fill: var(--below); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin: 0 0 10px; }
.key span::before {
  content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px;
  background: currentColor;
}
.key .made { color: var(--made); } .key .below { color: var(--below); }
.beside { display: grid; grid-template-columns: minmax(0, 300px) minmax(0, 1fr); gap: 12px 36px;
  align-items: start; }
.map { width: 100%; display: block; margin-bottom: 6px; border: 1px solid var(--line); border-radius: 4px;
  background: var(--card); }
.map rect { fill: var(--made); }
.verdict.helps { color: var(--good); } .verdict.harms { color: var(--bad); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(268px, 1fr)); gap: 18px; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
.pair p { grid-column: 1 / -1; margin: 0; font-size: 13px; color: var(--soft); }
.across { color: var(--warn); font-weight: 600; }
@media (max-width: 640px) {
  main, header, footer { padding: 0 16px; }
  header { padding-top: 24px; }
  h1 { font-size: 26px; }
  h2 { margin-top: 40px; }
  .beside { grid-template-columns: 1fr; }
  .map { max-width: 320px; }
  .sheet { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); }
  .figures { grid-template-columns: repeat(2, 1fr); }
  .charts { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px; }
}
@media print {
  .switch, nav { display: none; }
  figure, .chart, .pair, li { break-inside: avoid; }
}
"""
