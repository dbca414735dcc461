"use strict";
// Draws the charts from the numbers in #facts, moves them with the sliders, sorts grids. Text is set as text, never as markup.
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const tip = document.getElementById("tip");

  const svg = (name, attributes = {}, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value, digits = 4) => value === null ? "none" : String(Number(value.toPrecision(digits)));

  // Axes: a few round numbers between two ends
  function ticks(low, high, count) {
    const step = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(step));
    const by = [1, 2, 5, 10].find((factor) => factor * power >= step) * power;
    const found = [];
    for (let at = Math.ceil(low / by); at * by <= high + by * 1e-9; at += 1) found.push(at * by);
    return found;
  }
  function logTicks(low, high) {
    const found = [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const factor of high - low > 2 ? [1] : [1, 2, 5]) found.push(power + Math.log10(factor));
    }
    return found.filter((at) => at >= low && at <= high);
  }
  const scale = (ends, pixels) => (value) => pixels[0] + ((value - ends[0]) / (ends[1] - ends[0] || 1)) * (pixels[1] - pixels[0]);

  function frameOf(plot, width, height, left = 52, bottom = 40) {
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", height });
    plot.replaceChildren(root);
    return { root, x: [left, width - 18], y: [height - bottom, 12], width, height };
  }
  function axes(box, xEnds, yEnds, names, options = {}) {
    const { root } = box, x = scale(xEnds, box.x), y = scale(yEnds, box.y);
    for (const at of ticks(...xEnds, (box.x[1] - box.x[0]) / 70)) {
      root.append(svg("text", { x: x(at), y: box.y[0] + 16, "text-anchor": "middle" }, short(at)));
      root.append(svg("path", { class: "tick", d: `M${x(at)} ${box.y[0]}v4` }));
    }
    if (!options.bare) {
      for (const at of options.log ? logTicks(...yEnds) : ticks(...yEnds, (box.y[0] - box.y[1]) / 32)) {
        const said = options.log ? short(10 ** at, 3) : short(at);
        root.append(svg("text", { x: box.x[0] - 7, y: y(at) + 4, "text-anchor": "end" }, said));
        root.append(svg("path", { class: "tick", d: `M${box.x[0]} ${y(at)}H${box.x[1]}` }));
      }
    }
    root.append(svg("path", { class: "axis", d: `M${box.x[0]} ${box.y[1]}V${box.y[0]}H${box.x[1]}` }));
    root.append(svg("text", { x: (box.x[0] + box.x[1]) / 2, y: box.height - 6, "text-anchor": "middle" }, names[0]));
    if (names[1]) {
      const up = { transform: `translate(11 ${(box.y[0] + box.y[1]) / 2}) rotate(-90)`, "text-anchor": "middle" };
      root.append(svg("text", up, names[1]));
    }
    return { x, y };
  }
  function key(plot, series) {
    const list = document.createElement("ul");
    list.className = "key";
    for (const one of series) {
      const item = document.createElement("li");
      item.className = one.role;
      item.textContent = one.name;
      list.append(item);
    }
    plot.append(list);
  }

  // What is under the pointer, or chosen by the arrow keys, is told beside it
  function tell(plot, at, lines) {
    const root = plot.querySelector("svg").getBoundingClientRect();
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    const left = Math.min(Math.max(root.left + at[0] + 12, 4), innerWidth - tip.offsetWidth - 4);
    const top = root.top + at[1] - tip.offsetHeight - 10;
    tip.style.left = `${left}px`;
    tip.style.top = `${Math.max(top, 4)}px`;
  }
  function hide() {
    tip.hidden = true;
    document.querySelectorAll(".pick").forEach((mark) => mark.remove());
  }
  function hoverable(plot, places) {
    let chosen = -1;
    const show = (index) => {
      const all = places();
      if (!all.length) return;
      chosen = (index + all.length) % all.length;
      const { at, lines } = all[chosen];
      document.querySelectorAll(".pick").forEach((mark) => mark.remove());
      plot.querySelector("svg").append(svg("circle", { class: "pick", cx: at[0], cy: at[1], r: 5 }));
      tell(plot, at, lines);
    };
    const point = (event) => {
      const root = plot.querySelector("svg").getBoundingClientRect();
      const pointer = [event.clientX - root.left, event.clientY - root.top];
      let best = -1, least = Infinity;
      places().forEach(({ at, flat }, index) => {
        const away = (at[0] - pointer[0]) ** 2 + (flat ? 0 : (at[1] - pointer[1]) ** 2);
        if (away < least) [best, least] = [index, away];
      });
      if (best >= 0 && least < 60 ** 2) show(best); else hide();
    };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!by) return;
      event.preventDefault();
      show(chosen + by);
    });
  }

  // One kind of chart each: (plot, spec) -> a function that draws frames, blended from one to the next
  const frame = (frames, place) => frames[Math.min(place, frames.length - 1)];
  const blend = (from, to, share) => share >= 1 ? to : to.map((value, i) => from[i] + (value - from[i]) * share);

  function histogram(plot, spec) {
    const { edges, series } = spec;
    // the data's own peak may tower over what is of interest: it sets the scale only up to twice the others' height
    const height = (one) => Math.max(...one.frames.map((values) => Math.max(...values)));
    const main = Math.max(...series.filter((one) => one.role !== "data").map(height));
    const top = 1.06 * Math.max(main, Math.min(2 * main, ...series.filter((one) => one.role === "data").map(height))) || 1;
    let box, to, lines, now;
    hoverable(plot, () => edges.slice(1).map((end, i) => ({
      at: [(to.x(end) + to.x(edges[i])) / 2, to.y(Math.min(top, Math.max(...now.map((values) => values[i]))))],
      flat: true,
      lines: [`${spec.x}: ${short(edges[i])} to ${short(end)}`, ...series.map((one, s) => `${one.name} ${short(now[s][i], 3)}`)],
    })));
    return {
      lay(width) {
        box = frameOf(plot, width, Math.min(300, 190 + width / 6));
        to = axes(box, [edges[0], edges.at(-1)], [0, top], [spec.x, spec.y]);
        lines = series.map((one) => {
          const path = svg("path", { class: `${one.role} ${one.role === "data" ? "area" : "line"}` });
          box.root.append(path);
          return path;
        });
        key(plot, series);
      },
      draw(from, place, share) {
        now = series.map((one) => blend(frame(one.frames, from), frame(one.frames, place), share));
        now.forEach((values, s) => {
          const steps = values.map((value, i) => `V${to.y(Math.min(value, top)).toFixed(1)}H${to.x(edges[i + 1]).toFixed(1)}`);
          lines[s].setAttribute("d", `M${to.x(edges[0])} ${box.y[0]}${steps.join("")}V${box.y[0]}`);
        });
      },
    };
  }

  function points(plot, spec) {
    let parts, place = 0;
    plot.closest("figure").classList.add("broad");
    const value = (number, axis) => spec.spans[axis][0] + (number / spec.grid) * (spec.spans[axis][1] - spec.spans[axis][0]);
    hoverable(plot, () => parts.flatMap(({ panel, to, now }) => Array.from({ length: now.length / 2 }, (_, i) => {
      const [x, y] = [value(now[2 * i], 0), value(now[2 * i + 1], 1)];
      const lines = [panel.name, `${spec.x} ${short(x)}, ${spec.y} ${short(y)}`];
      if (panel.energy) lines.push(`energy ${panel.energy[place][i] === null ? "forbidden" : short(panel.energy[place][i])}`);
      return { at: [to.x(x), to.y(y)], lines };
    })));
    return {
      lay(width) {
        const count = spec.panels.length, beside = width / count > 260;
        const each = beside ? width / count : width;
        const ratio = spec.equal ? (spec.spans[1][1] - spec.spans[1][0]) / (spec.spans[0][1] - spec.spans[0][0]) : 0.8;
        const inside = Math.min(each - 70, 420 / Math.max(ratio, 0.5));
        const height = Math.max(inside * ratio, 60) + 70;
        const root = frameOf(plot, width, beside ? height : height * count).root;
        parts = spec.panels.map((panel, i) => {
          const [left, up] = beside ? [i * each, 0] : [0, i * height];
          const box = { root, x: [left + 52, left + 52 + inside], y: [up + height - 40, up + 30], width: each, height: up + height };
          const to = axes(box, spec.spans[0], spec.spans[1], [spec.x, i && beside ? "" : spec.y]);
          root.append(svg("text", { x: box.x[0], y: up + 18 }, panel.name));
          const size = Math.min(5, Math.max(2, 80 / Math.sqrt(panel.frames[0].length / 2)));
          const cloud = svg("path", { class: `${panel.role} cloud`, "stroke-width": size });
          root.append(cloud);
          return { panel, to, cloud, now: [] };
        });
      },
      draw(from, at, share) {
        place = at;
        for (const part of parts) {
          const { frames, smooth } = part.panel;
          part.now = smooth ? blend(frame(frames, from), frame(frames, at), share) : frame(frames, at);
          let d = "";
          for (let i = 0; i < part.now.length; i += 2) {
            d += `M${part.to.x(value(part.now[i], 0)).toFixed(1)} ${part.to.y(value(part.now[i + 1], 1)).toFixed(1)}h0`;
          }
          part.cloud.setAttribute("d", d);
        }
      },
    };
  }

  function lines(plot, spec, stops) {
    const high = (value) => spec.log ? Math.log10(Math.max(value, 1e-12)) : value;
    const all = spec.series.flatMap((one) => one.y.flatMap((y, i) => {
      const error = one.error && one.error[i] || 0;
      return [high(y - (spec.log ? 0 : error)), high(y + error)];
    })).sort((a, b) => a - b);
    const cut = spec.robust ? Math.floor(all.length / 100) : 0;  // a loss's first steps would flatten all that follows
    let [low, top] = [all[cut] ?? 0, all[all.length - 1 - cut] ?? 1];
    const margin = 0.06 * (top - low) || Math.abs(top) * 0.1 || 1;
    [low, top] = [spec.zero ? Math.min(0, low) : low - margin, top + margin];
    const across = spec.series.flatMap((one) => one.x);
    const ends = [Math.min(...across), Math.max(...across)];
    let box, to, here, places = [];
    hoverable(plot, () => places);
    return {
      lay(width) {
        box = frameOf(plot, width, 230, 70);
        to = axes(box, ends, [low, top], [spec.x, spec.y], { log: spec.log });
        const inside = (y) => to.y(Math.min(top, Math.max(low, high(y))));
        places = [];
        for (const one of spec.series) {
          const at = one.x.map((x, i) => [to.x(x), inside(one.y[i])]);
          box.root.append(svg("path", { class: `${one.role} line`, d: at.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("") }));
          at.forEach((p, i) => {
            const error = one.error && one.error[i];
            if (error) box.root.append(svg("path", { class: `${one.role} whisker`, d: `M${p[0]} ${inside(one.y[i] - error)}V${inside(one.y[i] + error)}` }));
            if (at.length <= 40) box.root.append(svg("circle", { class: `${one.role} mark-dot`, cx: p[0], cy: p[1], r: 3.5 }));
            places.push({ at: p, lines: [one.name, `${spec.x} ${short(one.x[i])}: ${short(one.y[i])}${error ? ` ± ${short(error, 2)}` : ""}`] });
          });
        }
        here = spec.follows && stops.length === 1 ? svg("path", { class: "here" }) : null;
        if (here) box.root.append(here);
        key(plot, spec.series);
      },
      draw(from, place, share) {
        if (!here) return;
        const beta = stops[0][from] + (stops[0][place] - stops[0][from]) * share;
        here.setAttribute("d", `M${to.x(beta)} ${box.y[1]}V${box.y[0]}`);
      },
    };
  }

  function intervals(plot, spec) {
    const ends = spec.rows.flatMap((row) => [row.value - (row.error || 0), row.value + (row.error || 0)]);
    const margin = 0.08 * (Math.max(...ends) - Math.min(...ends)) || 1;
    const range = [Math.min(...ends) - margin, Math.max(...ends) + margin];
    let places = [];
    hoverable(plot, () => places);
    return {
      lay(width) {
        const box = frameOf(plot, width, 50 + 44 * spec.rows.length, 12);
        const to = axes(box, range, [0, 1], ["", ""], { bare: true });
        places = spec.rows.map((row, i) => {
          const y = box.y[1] + 24 + i * 44, x = to.x(row.value), role = i ? "target" : "made";
          const error = row.error || 0, said = `${row.name} ${short(row.value)}${error ? ` ± ${short(error, 2)}` : ""}`;
          box.root.append(svg("path", { class: `${role} whisker`, d: `M${to.x(row.value - error)} ${y}H${to.x(row.value + error)}` }));
          box.root.append(svg("circle", { class: `${role} mark-dot`, cx: x, cy: y, r: 5 }));
          const side = x > (box.x[0] + box.x[1]) / 2;
          box.root.append(svg("text", { x: side ? box.x[1] : box.x[0] + 8, y: y - 9, "text-anchor": side ? "end" : "start" }, said));
          return { at: [x, y], lines: [said] };
        });
      },
      draw() {},
    };
  }

  const kinds = { histogram, points, lines, intervals };

  facts.forEach((run, number) => {
    const last = run.words.length ? run.words.length - 1 : 0;
    let place = last, from = last, moving = 0;
    const charts = [], pictures = [];
    const add = (plot, spec) => {
      const chart = kinds[spec.kind](plot, spec, run.stops);
      charts.push(chart);
      let width = 0;
      new ResizeObserver(() => {
        const fresh = Math.floor(plot.clientWidth);
        if (fresh === width || fresh < 40) return;
        width = fresh;
        chart.lay(width);
        chart.draw(place, place, 1);
        chart.laid = true;
      }).observe(plot);
    };
    document.querySelectorAll(`figure[data-run="${number}"]`).forEach((figure) => add(figure.querySelector(".plot"), run.charts[figure.dataset.chart]));
    document.querySelectorAll(`section.own[data-run="${number}"]`).forEach((section) => {
      const spec = run.sections[section.dataset.section];
      if (spec.kind === "intervals") add(section.querySelector(".plot"), spec);
      if (spec.kind === "grid") sortable(section, spec);
      if (spec.kind === "stops" && spec.pictures.length > 1) pictures.push([section.querySelector("img"), spec]);
    });

    const draw = (share) => charts.forEach((chart) => chart.laid && chart.draw(from, place, share));
    function move(to) {
      cancelAnimationFrame(moving);
      hide();
      from = place;
      place = to;
      for (const [image, spec] of pictures) {
        image.src = spec.pictures[Math.min(place, spec.pictures.length - 1)];
        image.alt = spec.alts[Math.min(place, spec.alts.length - 1)];
      }
      const start = performance.now();
      const step = (now) => {
        const share = still ? 1 : Math.min(1, (now - start) / 220);
        draw(share);
        if (share < 1) moving = requestAnimationFrame(step);
      };
      moving = requestAnimationFrame(step);
    }
    const form = document.querySelector(`form.sliders[data-run="${number}"]`);
    if (!form) return;
    const inputs = [...form.querySelectorAll("input")], outputs = [...form.querySelectorAll("output")];
    const told = () => {
      const [, said, verdict] = run.words[place];
      document.querySelector(`.said[data-run="${number}"]`).textContent = said + (verdict ? `. Report at this beta: ${verdict}` : "");
      inputs.forEach((input, k) => {
        const beta = short(run.stops[k][input.value]);
        outputs[k].textContent = beta;
        input.setAttribute("aria-valuetext", beta);
      });
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      move(inputs.reduce((sum, input, k) => sum * run.stops[k].length + Number(input.value), 0));
      told();
    });
    // a browser that keeps a form's values over a reload shows them
    const kept = inputs.reduce((sum, input, k) => sum * run.stops[k].length + Number(input.value), 0);
    if (kept !== place) move(kept);
    told();
  });

  function sortable(section, spec) {
    const list = section.querySelector("ul"), cards = [...list.children], buttons = [...section.querySelectorAll(".sort button")];
    const first = spec.values.map((values) => values[0]).filter((value) => value !== null);
    let by = 0, down = !(first[0] < first.at(-1));  // they come sorted: by a score from the highest, by an energy from the lowest
    const show = () => {
      const value = (card) => spec.values[card.dataset.card][by];
      const sorted = [...cards].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return down ? y - x : x - y;
      });
      list.replaceChildren(...sorted);
      for (const card of cards) {
        const shown = by ? [0, by] : [0];
        card.querySelector(".value").textContent = shown.map((k) => `${spec.keys[k]} ${short(spec.values[card.dataset.card][k])}`).join(" · ");
      }
      buttons.forEach((button, k) => {
        button.setAttribute("aria-pressed", String(k === by));
        button.querySelector(".way").textContent = k === by ? (down ? " ↓" : " ↑") : "";
      });
    };
    buttons.forEach((button, k) => button.addEventListener("click", () => {
      [by, down] = [k, k === by ? !down : true];
      show();
      section.querySelector(".unseen").textContent = `sorted by ${spec.keys[by]}, ${down ? "highest" : "lowest"} first`;
    }));
    if (spec.keys.length) show();
    const all = section.querySelector(".all");
    if (all) all.addEventListener("click", () => { list.classList.remove("few"); all.remove(); });
  }

  const only = document.getElementById("differing");
  if (only) only.addEventListener("change", () => document.querySelector("table.compared").classList.toggle("only", only.checked));
})();
