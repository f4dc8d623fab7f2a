// Charts and small drawings. Everything is made of DOM calls: no text of a device is ever read as markup.
'use strict';

const SVG = 'http://www.w3.org/2000/svg';

/** An element with a class, a text and children. */
export function el(tag, name = '', text = null, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== null) node.textContent = text;
  node.append(...children);
  return node;
}

/** A colour of the style sheet, by its name. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Milliseconds for people: 0.42 ms, 4.2 ms, 512 ms, 1.24 s. */
export function ms(value) {
  if (value === null || value === undefined) return '–';
  if (value >= 1000) return `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
  if (value >= 100) return `${value.toFixed(0)} ms`;
  if (value >= 10) return `${value.toFixed(1)} ms`;
  return `${value.toFixed(2)} ms`;
}

export const count = (value) => (value === null || value === undefined ? '–' : Math.round(value).toLocaleString('en-US'));

export function bytes(value) {
  if (value === null || value === undefined) return '–';
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${value} B`;
}

/** A share, with as many places as it takes to tell it from all or nothing. */
export function percent(share) {
  if (share === null || share === undefined) return '–';
  const value = share * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value > 99.9) return `${Math.min(value, 99.999).toFixed(3)} %`;
  if (value > 90 || value < 1) return `${value.toFixed(2)} %`;
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** Parts of a bar, each `[share of the whole, colour, title]`. */
export function fillBar(bar, parts) {
  while (bar.children.length > parts.length) bar.lastChild.remove();
  while (bar.children.length < parts.length) bar.append(el('i'));
  parts.forEach(([share, shade, title], i) => {
    const part = bar.children[i];
    part.style.width = `${Math.max(0, share * 100)}%`;
    part.style.background = `var(--${shade})`;
    if (title) part.title = title;
  });
}

/** A line with its area in a small SVG. `top`: value at the upper edge, at least. */
export function spark(svg, values, { top = 0, shade = 'accent', room = 0 } = {}) {
  const width = 100, height = 24;
  if (!svg.firstChild) {
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('preserveAspectRatio', 'none');
    for (const kind of ['area', 'line']) {
      const path = document.createElementNS(SVG, 'path');
      path.setAttribute('fill', 'none');
      if (kind === 'line') {
        path.setAttribute('stroke-width', '1.4');
        path.setAttribute('vector-effect', 'non-scaling-stroke');
        path.setAttribute('stroke-linejoin', 'round');
      }
      svg.append(path);
    }
  }
  const [area, line] = svg.children;
  const known = values.filter((value) => value !== null && value !== undefined);
  const most = Math.max(top, ...known) || 1;
  const step = width / Math.max(1, (room || values.length) - 1);
  const left = width - step * (values.length - 1);
  let path = '', last = null;
  values.forEach((value, i) => {
    if (value === null || value === undefined) return;
    const x = (left + i * step).toFixed(2), y = (height - 1 - (value / most) * (height - 3)).toFixed(2);
    path += `${path ? 'L' : 'M'}${x} ${y}`;
    last = x;
  });
  line.setAttribute('d', path || 'M0 0');
  area.setAttribute('d', last === null ? 'M0 0' : `${path}L${last} ${height}L${path.slice(1).split(' ')[0]} ${height}Z`);
  line.style.stroke = `var(--${shade})`;
  area.style.fill = `var(--${shade})`;
  area.style.opacity = '0.14';
}

/**
 * A chart over time: uPlot, with a legend of our own that shows the value under the cursor, or the newest.
 * `series`: `{ name, shade, fill, format }`; stacked ones are drawn from the whole down to the first.
 */
export class TimeChart {
  constructor(place, series, { stacked = false, format = count, mark = null, least = 0 } = {}) {
    Object.assign(this, { place, series, stacked, format, mark, least, columns: null, plot: null });
    this.legend = el('div', 'legend');
    this.values = series.map(({ name, shade }) => {
      const value = el('b', '', '–'), swatch = el('i', 'swatch');
      swatch.style.background = `var(--${shade})`;
      this.legend.append(el('span', '', null, swatch, `${name} `, value));
      return value;
    });
    // The plot lies in a place that it cannot stretch.
    this.canvas = el('div');
    this.frame = el('div', 'plot', null, this.canvas);
    place.append(this.legend, this.frame);
    new ResizeObserver(() => this.resize()).observe(this.frame);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.rebuild());
  }

  /** Times in seconds, and a column for each series. */
  set(times, columns) {
    this.columns = columns;
    const drawn = this.stacked ? this.pile(columns) : columns;
    this.data = [times, ...drawn];
    if (this.plot) this.plot.setData(this.data);
    else this.rebuild();
    this.tell(this.plot ? this.plot.cursor.idx : null);
  }

  /** Sums from the last series up, so that the first one drawn is the whole. */
  pile(columns) {
    const sums = columns.map((column) => column.slice());
    for (let i = sums.length - 2; i >= 0; i--) {
      for (let j = 0; j < sums[i].length; j++) sums[i][j] += sums[i + 1][j];
    }
    return sums;
  }

  tell(index) {
    const columns = this.columns;
    if (!columns) return;
    this.values.forEach((value, i) => {
      const column = columns[i], at = index === null || index === undefined ? column.length - 1 : index;
      value.textContent = this.format(column[at] ?? null);
    });
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (this.plot && width) this.plot.setSize({ width, height });
    else this.rebuild();
  }

  rebuild() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (!this.data || !width) return;
    this.plot?.destroy();
    const axis = { stroke: colour('soft'), grid: { stroke: colour('grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const line = ({ shade }) => ({
      stroke: colour(shade), width: this.stacked ? 0 : 1.6, points: { show: false }, spanGaps: true,
      fill: this.stacked ? colour(shade) : undefined,
    });
    const options = {
      width, height, padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: !this.stacked } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(this.least, (high || 0) * 1.08)] } },
      axes: [
        { ...axis, size: 26, space: 60, values: (_, times) => times.map((time) => clock(time * 1000)) },
        { ...axis, size: 54, gap: 4, values: (_, values) => values.map((value) => this.format(value)) },
      ],
      series: [{}, ...this.series.map(line)],
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)], draw: this.mark === null ? [] : [(plot) => this.drawMark(plot)] },
    };
    this.plot = new uPlot(options, this.data, this.canvas);
  }

  /** A dashed line at a bound. */
  drawMark(plot) {
    const { ctx, bbox } = plot, y = plot.valToPos(this.mark, 'y', true);
    if (y < bbox.top) return;
    ctx.save();
    ctx.strokeStyle = colour('bad');
    ctx.globalAlpha = 0.7;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}

/** Hours, minutes and seconds of a wall clock's reading. */
export const clock = (at) => new Date(at).toLocaleTimeString('en-GB');
