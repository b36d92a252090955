// The report's behaviour. Everything shown comes from its <script type="application/json"> elements; nothing is fetched.
(() => {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const embedded = (name) => JSON.parse($(`#data-${name}`).textContent);
  const make = (tag, attributes = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };
  const say = (text) => { $("#status").textContent = text; };

  const trials = embedded("trials"); // by number: {name, mark, figures: [[what, value]], words, message}
  const gallery = embedded("gallery"); // see dashboards/page/gallery.py
  const plots = embedded("plots"); // by name: {data, layout, numbers}
  const templates = embedded("templates"); // light and dark
  const narrow = matchMedia("(max-width: 900px)");
  const webp = (base64) => `data:image/webp;base64,${base64}`;

  // ---- Drawings: a group is inflated when one of its drawings is needed.

  const inflated = new Map();
  const inflate = (group) => {
    if (!inflated.has(group)) {
      const bytes = Uint8Array.from(atob(gallery.compressed[group]), (character) => character.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      inflated.set(group, new Response(stream).json());
    }
    return inflated.get(group);
  };
  const drawingOf = async (number) => {
    const place = gallery.drawings[number];
    if (place === undefined) return null;
    const texts = await inflate(Math.floor(place / gallery.group_size));
    // As an <img> a drawing can run no script, whatever it holds.
    return `data:image/svg+xml,${encodeURIComponent(texts[place % gallery.group_size])}`;
  };

  // ---- Light and dark: the page by its colours' variables, the plots by their template.

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  let chosenTheme = null;
  const theme = () => chosenTheme ?? (prefersDark.matches ? "dark" : "light");
  const drawn = [];
  const applyTheme = () => {
    document.documentElement.dataset.theme = theme();
    const other = theme() === "dark" ? "light" : "dark";
    const button = $("#theme");
    button.hidden = false;
    button.textContent = other;
    button.setAttribute("aria-label", `show this page ${other}`);
    return Promise.all(drawn.map((chart) => Plotly.relayout(chart, { template: templates[theme()] })));
  };
  $("#theme").addEventListener("click", () => {
    chosenTheme = theme() === "dark" ? "light" : "dark";
    applyTheme();
  });
  prefersDark.addEventListener("change", applyTheme);

  // ---- The card: one network's figures, drawing and pictures. Pointing shows it, a click or Enter keeps it.

  const card = $("#card");
  const resting = card ? [...card.childNodes] : [];
  let pinned = null;
  let shown = null;
  const restoredOf = (number) => {
    const pairs = gallery.pairs[number];
    if (!pairs) return gallery.thumbnails[number] ? make("p", {}, make("img", {
      className: "preview", src: webp(gallery.thumbnails[number]), alt: `restored by trial ${number}, small` })) : "";
    const titles = ["amplified", "restored", "truth"];
    return make("div", {}, ...pairs.map((pair) => make("div", { className: "three" }, ...pair.map((key, index) => make("figure", {},
      make("img", { className: "preview", src: webp(gallery.pictures[key]), alt: `${titles[index]}, trial ${number}` }),
      make("figcaption", {}, titles[index]))))));
  };
  const lossOf = (number) => {
    const curve = gallery.losses[number] ?? [];
    if (curve.length < 3) return "";
    const steps = curve.map(([step]) => step), losses = curve.map(([, loss]) => Math.log(Math.max(loss, 1e-9)));
    const [low, high, last] = [Math.min(...losses), Math.max(...losses), steps.at(-1)];
    const line = curve.map((_, i) => `${(300 * steps[i] / last).toFixed(1)},${(42 - 40 * (losses[i] - low) / (high - low || 1)).toFixed(1)}`);
    const text = `loss while training, logarithmic: ${curve[0][1]} to ${curve.at(-1)[1]} in ${last} steps`;
    const picture = make("div", { className: "loss" });
    picture.innerHTML = `<svg viewBox="0 0 300 44" role="img" aria-label="${text}"><polyline points="${line.join(" ")}"/></svg>`;
    return make("figure", {}, picture, make("figcaption", {}, text)); // numbers only: nothing here can be markup
  };
  const show = async (number) => {
    if (!card || shown === number) return;
    shown = number;
    const trial = trials[number];
    if (!trial) return;
    const drawing = await drawingOf(number);
    if (shown !== number) return; // another one was pointed at meanwhile
    const close = make("button", { type: "button", textContent: "close" });
    close.addEventListener("click", () => pin(null));
    const figures = make("dl");
    for (const [what, value] of trial.figures) figures.append(make("dt", {}, what), make("dd", {}, value));
    const compare = make("button", { type: "button", textContent: "show in the slider" });
    compare.addEventListener("click", () => slide(number));
    card.replaceChildren(
      make("div", { className: "top" }, make("h3", {}, `${trial.name} `, make("small", {}, `trial ${number}, ${trial.mark}`)),
        pinned === number ? close : ""),
      trial.words ? make("p", { className: "quiet" }, trial.words) : "",
      figures,
      trial.message ? make("p", { className: "note" }, trial.message) : "",
      drawing ? make("img", { className: "drawing", src: drawing, alt: `drawing of the network of trial ${number}` })
        : make("p", { className: "quiet" }, "No drawing of it is in this file."),
      restoredOf(number),
      lossOf(number),
      gallery.pairs[number] ? compare : "",
    );
  };
  const rest = () => {
    shown = null;
    card.replaceChildren(...resting);
  };
  const pin = (number) => {
    if (!card) return;
    pinned = number;
    card.classList.toggle("pinned", number !== null);
    document.body.classList.toggle("reading", number !== null);
    for (const button of all("[data-pin]")) {
      if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(Number(button.dataset.pin) === number));
    }
    ring(number);
    shown = null;
    if (number === null) return rest();
    show(number);
    say(`trial ${number}: ${trials[number].figures.map(([what, value]) => `${what} ${value}`).join(", ")}`);
  };
  const point = (number) => { if (pinned === null && !narrow.matches) show(number); };
  const leave = () => { if (pinned === null && card && !narrow.matches) rest(); };
  for (const button of all("[data-pin]")) {
    const number = Number(button.dataset.pin);
    button.addEventListener("click", () => {
      pin(pinned === number && button.hasAttribute("aria-pressed") ? null : number);
      if (!button.hasAttribute("aria-pressed") && !narrow.matches) card?.scrollIntoView({ block: "nearest" });
    });
    button.addEventListener("focus", () => point(number));
    button.addEventListener("blur", leave);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && pinned !== null) pin(null); });

  // ---- Plots.

  const charts = {};
  const numberOf = (customdata) => Array.isArray(customdata) ? customdata[0] : customdata;
  const linked = ["front", "ratio"]; // those that follow the card and the brush
  const hasWebgl = Boolean(document.createElement("canvas").getContext("webgl"));
  const draw = async (chart) => {
    const name = chart.dataset.plot;
    const { data, layout } = plots[name];
    if (name === "parallel" && !hasWebgl) {
      chart.closest(".wide").replaceWith(make("p", { className: "note" },
        "This browser draws no WebGL, which these lines need; choosing an axis and its bounds works without."));
      return followBrush(Object.assign(chart, { data }));
    }
    const touch = matchMedia("(pointer: coarse)").matches;
    const dots = linked.includes(name);
    for (const trace of data) {
      if (!dots || !trace.customdata) continue;
      trace.hoverinfo = "none"; // the card says it
      trace.unselected = { marker: { opacity: 0.12 }, textfont: { color: "rgba(128,139,150,.6)" } };
      trace.selected = { marker: { opacity: 1 } };
    }
    // The last trace: a ring around the network that the card keeps.
    if (dots) data.push({ type: "scatter", mode: "markers", x: [], y: [], hoverinfo: "skip", showlegend: false,
      marker: { symbol: "circle-open", size: 20, color: "#d55e00", line: { width: 3 } } });
    // A finger scrolls the page instead of drawing a zoom box.
    Object.assign(layout, { template: templates[theme()], autosize: true }, touch && name !== "parallel" ? { dragmode: false } : {});
    await Plotly.newPlot(chart, data, layout, { responsive: true, displayModeBar: false });
    charts[name] = chart;
    drawn.push(chart);
    chart.on("plotly_click", ({ points: [one] }) => {
      const number = numberOf(one.customdata);
      if (trials[number]) pin(pinned === number ? null : number);
    });
    if (dots) {
      chart.on("plotly_hover", ({ points: [one] }) => point(numberOf(one.customdata)));
      chart.on("plotly_unhover", leave);
    }
    if (name === "parallel") followBrush(chart);
  };
  const ring = (number) => {
    for (const name of linked) {
      const chart = charts[name];
      if (!chart) continue;
      const last = chart.data.length - 1;
      let place = null;
      for (const trace of chart.data.slice(0, last)) {
        const index = (trace.customdata ?? []).findIndex((one) => number !== null && numberOf(one) === number);
        if (index >= 0) place = [trace.x[index], trace.y[index]];
      }
      Plotly.restyle(chart, { x: [place ? [place[0]] : []], y: [place ? [place[1]] : []] }, [last]);
    }
  };

  // ---- Brushing: what is chosen on the parallel axes is kept bright on the front, the rest is dimmed.

  const ranges = (limits) => limits === undefined || limits === null ? [] : Array.isArray(limits[0]) ? limits : [limits];
  const brushed = (chart) => {
    const { dimensions } = chart.data[0];
    const limited = dimensions.filter((dimension) => ranges(dimension.constraintrange).length);
    if (!limited.length) return null;
    const inside = (dimension, index) => ranges(dimension.constraintrange)
      .some(([low, high]) => dimension.values[index] >= Math.min(low, high) && dimension.values[index] <= Math.max(low, high));
    return new Set(plots.parallel.numbers.filter((_, index) => limited.every((dimension) => inside(dimension, index))));
  };
  const showBrush = (chart) => {
    const chosen = brushed(chart);
    for (const name of linked) {
      if (!charts[name]) continue;
      const traces = charts[name].data.map((trace, index) => [trace, index]).filter(([trace]) => trace.customdata);
      const selected = traces.map(([trace]) => chosen === null ? null
        : trace.customdata.map((one, index) => chosen.has(numberOf(one)) ? index : -1).filter((index) => index >= 0));
      Plotly.restyle(charts[name], { selectedpoints: selected }, traces.map(([, index]) => index));
    }
    const total = plots.parallel.numbers.length;
    const text = chosen === null ? `all ${total} networks` : `${chosen.size} of ${total} networks chosen, the others dimmed`;
    $("#brushed").textContent = text;
    $("#clear").disabled = chosen === null;
    say(text);
  };
  const followBrush = (chart) => {
    chart.on?.("plotly_restyle", () => showBrush(chart));
    const limit = (limits) => { // by index of the axis
      if (chart.on) return Plotly.restyle(chart, Object.fromEntries(Object.entries(limits)
        .map(([index, range]) => [`dimensions[${index}].constraintrange`, range === null ? null : [range]])), [0]);
      for (const [index, range] of Object.entries(limits)) chart.data[0].dimensions[index].constraintrange = range;
      showBrush(chart);
    };
    const axis = $("#axis"), low = $("#low"), high = $("#high");
    const { dimensions } = chart.data[0];
    dimensions.forEach((dimension, index) => axis.append(make("option", { value: index, textContent: dimension.label })));
    // Axes whose heights stand for something else (words, octaves) are chosen from by their labels.
    const offer = () => {
      const dimension = dimensions[Number(axis.value)];
      const ticks = dimension.tickvals ? [...dimension.tickvals] : null;
      const extent = [dimension.values.reduce((a, b) => Math.min(a, b)), dimension.values.reduce((a, b) => Math.max(a, b))];
      for (const [select, bound] of [[low, 0], [high, 1]]) {
        const steps = ticks ?? Array.from({ length: 11 }, (_, step) => extent[0] + (extent[1] - extent[0]) * step / 10);
        const label = (value, index) => ticks && dimension.ticktext ? dimension.ticktext[index] : Number(value.toPrecision(4));
        const options = steps.map((value, index) => make("option", { value, textContent: label(value, index) }));
        if (ticks && Math.min(...ticks) > extent[0]) options.unshift(make("option", { value: extent[0], textContent: "lowest" }));
        if (ticks && Math.max(...ticks) < extent[1]) options.push(make("option", { value: extent[1], textContent: "highest" }));
        select.replaceChildren(...options);
        select.selectedIndex = bound ? options.length - 1 : 0;
      }
    };
    const apply = () => {
      const limits = [Number(low.value), Number(high.value)].sort((a, b) => a - b);
      const room = 1e-6 * (Math.abs(limits[1] - limits[0]) || Math.abs(limits[0]) || 1); // the ends are within
      const padded = limits[0] === limits[1] ? [limits[0] - 0.01, limits[1] + 0.01] : [limits[0] - room, limits[1] + room];
      limit({ [axis.value]: padded });
    };
    axis.addEventListener("change", offer);
    low.addEventListener("change", apply);
    high.addEventListener("change", apply);
    offer();
    $("#clear").addEventListener("click", async () => {
      await limit(Object.fromEntries(dimensions.map((_, index) => [index, null])));
      offer();
    });
    showBrush(chart);
  };

  // ---- Before and after: two pictures of one pair, the left one cut where the slider stands.

  const stage = $(".stage");
  const [left, right, pair] = [$("#left"), $("#right"), $("#pair")];
  const slide = (number) => {
    right.value = String(number);
    if (left.value === right.value) left.value = "amplified";
    place();
    stage.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    $("input", stage).focus({ preventScroll: true });
  };
  const keyOf = (what, index) => {
    const anyone = gallery.pairs[right.value] ?? gallery.pairs[left.value] ?? Object.values(gallery.pairs)[0];
    const one = (gallery.pairs[what] ?? anyone)[index] ?? anyone[0];
    return one[{ amplified: 0, truth: 2 }[what] ?? 1];
  };
  const nameOf = (what) => ({ amplified: "amplified only", truth: "ground truth" })[what] ?? `${trials[what].name}, trial ${what}`;
  const place = () => {
    const index = Number(pair.value);
    for (const [select, side] of [[left, "left"], [right, "right"]]) {
      const picture = $(`img.${side}`, stage);
      picture.src = webp(gallery.pictures[keyOf(select.value, index)]);
      picture.alt = `${nameOf(select.value)}, pair ${index + 1}`;
    }
    $(".of.a", stage).textContent = nameOf(left.value);
    $(".of.b", stage).textContent = nameOf(right.value);
    const sentences = [left, right].filter((one) => trials[one.value]).map((one) => {
      const trial = trials[one.value];
      return `${trial.name} (trial ${one.value}): ${trial.figures.map(([what, value]) => `${what} ${value}`).join(", ")}.`;
    });
    $("#compared").replaceChildren(...sentences.map((text) => make("p", {}, text)));
  };
  if (stage) {
    const input = $("input", stage);
    const cut = () => {
      stage.style.setProperty("--cut", `${input.value}%`);
      input.setAttribute("aria-valuetext", `${input.value} % ${nameOf(left.value)}`);
    };
    input.addEventListener("input", cut);
    for (const select of [left, right, pair]) select.addEventListener("change", () => { place(); cut(); });
    $("#swap").addEventListener("click", () => { [left.value, right.value] = [right.value, left.value]; place(); cut(); });
    $("img.right", stage).addEventListener("load", ({ target }) => {
      stage.style.aspectRatio = `${target.naturalWidth} / ${target.naturalHeight}`;
    });
    place();
    cut();
  }

  // ---- The table: sorted by a column's button; commands copied.

  for (const button of all("[data-sort]")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const table = button.closest("table");
      const column = all("th", head.parentElement).indexOf(head);
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const one of all("thead th", table)) one.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (body) => body.rows[0].cells[column].dataset.value;
      const numeric = button.dataset.sort === "number";
      const compare = (a, b) => {
        if (!value(a) || !value(b)) return Number(!value(a)) - Number(!value(b)); // unknown ones last
        const order = numeric ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b));
        return down ? -order : order;
      };
      table.append(...[...table.tBodies].sort(compare));
      say(`sorted by ${button.firstChild.textContent}, ${down ? "highest" : "lowest"} first`);
    });
  }
  const copied = async (text, code) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // an old or a strict browser: by way of the selection
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) return "selected";
    }
    return "copied";
  };
  for (const button of all("[data-copy]")) {
    button.addEventListener("click", async () => {
      button.textContent = await copied(button.dataset.copy, button.previousElementSibling);
      say(`${button.textContent}: ${button.dataset.copy}`);
      setTimeout(() => { button.textContent = "copy"; }, 1600);
    });
  }

  // ---- Printed light, whatever the screen is.

  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; });
  addEventListener("afterprint", applyTheme);

  // ---- Plots are drawn one after the other, so that the page answers in between.

  (async () => {
    await applyTheme();
    for (const chart of all(".chart")) {
      await draw(chart);
      await new Promise((next) => setTimeout(next));
    }
    document.documentElement.dataset.ready = "yes";
  })();
})();
