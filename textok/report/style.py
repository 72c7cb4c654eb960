"""The page's style sheet."""

CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #e3e7eb;
  --accent: #2b6cb0; --note: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1b1f24; --ink: #e4e8ec; --soft: #9aa4af;
  --line: #2c333a; --accent: #7fb2e5; --note: #1b1f24; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 48px 24px 72px; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -0.012em; overflow-wrap: anywhere; }
h1 { font-size: 34px; font-weight: 650; margin: 0 0 8px; }
h2 { font-size: 22px; font-weight: 620; margin: 56px 0 8px; padding-top: 20px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; font-weight: 600; margin: 28px 0 10px; }
p { margin: 0 0 14px; max-width: 72ch; overflow-wrap: anywhere; }
.lede { font-size: 18px; color: var(--soft); }
.about, figcaption { color: var(--soft); font-size: 14.5px; }
.missing { background: var(--note); border-left: 3px solid var(--accent); border-radius: 0 6px 6px 0;
  padding: 12px 16px; font-size: 14.5px; margin: 14px 0; max-width: none; }
.scroll { overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: 9px 20px 9px 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 4px; }
thead th { color: var(--soft); font-weight: 500; font-size: 12.5px; vertical-align: bottom; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; }
.number + :not(.number) { padding-left: 14px; }
.run { position: sticky; left: 0; background: var(--paper); white-space: normal;
  min-width: min(48ch, var(--name)); overflow-wrap: anywhere; }
.picture img { width: 100%; max-width: var(--natural); min-width: var(--least); }
tr.same > :first-child { border-bottom-color: transparent; }
small { color: var(--soft); font-size: 12px; font-weight: 400; }
.plots { display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
figure { margin: 0 0 8px; min-width: 0; }
.plots figure { border: 1px solid var(--line); border-radius: 8px; padding: 12px; background: var(--card); margin: 0; }
.plots img { display: block; width: 100%; height: auto; }
.picture { border: 1px solid var(--line); border-radius: 8px; background: #ffffff; margin-bottom: 8px;
  width: fit-content; }
.picture img { display: block; height: auto; }
details { margin-top: 18px; }
details .plots, details figure { margin-top: 10px; }
ol { margin: 8px 0 14px; padding-left: 2.2em; max-width: 100ch; font-size: 14.5px; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); font-size: 14.5px; padding: 6px 0; }
footer { margin-top: 64px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px; }
@media (prefers-color-scheme: dark) {
  /* The plots are drawn in ink on white: turned over, with the white falling through to the card. */
  .plots figure { isolation: isolate; }
  .plots img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
  .picture img { filter: brightness(0.92); }
  .picture { background: #ebebeb; border-color: transparent; }
}
@media (max-width: 600px) {
  main { padding: 28px 16px 48px; }
  h1 { font-size: 27px; }
  h2 { font-size: 20px; margin-top: 40px; }
  .lede { font-size: 16px; }
  .run { min-width: min(46vw, var(--name)); }
  /* It scrolls anyway, so its words may have their size. */
  .picture img { min-width: calc(0.85 * var(--natural)); }
}
@media print { .plots figure, .picture, tr { break-inside: avoid; } }
"""
