// Tables that sort and filter, charts that answer. A page can be read without any of it: everything that this script
// works on it makes itself, from what stands there already.
"use strict";
(() => {
    const make = (name, attributes, text) => {
        const element = document.createElement(name);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        if (text) element.textContent = text;
        return element;
    };

    // A cell as a number, where it begins with one: `~12.5`, `+3.1 %`, `10 to 12 runs`. A date is none.
    const NUMBER = /^[~<]?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=\s|$)/i;
    const numberOf = (text) => {
        const found = NUMBER.exec(text);
        return found ? Number(found[1]) : NaN;
    };
    const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

    // From so many rows on a table can be filtered.
    const ROWS_TO_FILTER = 8;

    const enhanceTable = (box) => {
        const table = box.querySelector("table.rows");
        const body = table && table.tBodies[0];
        if (!body || body.rows.length < 2) return;
        const rows = Array.from(body.rows);
        const said = make("span", { role: "status", "aria-live": "polite" });
        const say = (text) => { said.textContent = text; };

        const sortBy = (column, head, name) => {
            const order = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
            for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
            if (!order) {
                body.append(...rows);
                say("In the order of the report");
                return;
            }
            head.setAttribute("aria-sort", order);
            const keyed = rows.map((row) => {
                const text = row.cells[column].textContent.trim();
                return { row, text, number: numberOf(text) };
            });
            const filled = keyed.filter((one) => one.text !== "");
            const numbers = filled.filter((one) => !Number.isNaN(one.number));
            const sign = order === "ascending" ? 1 : -1;
            let sorted;
            if (2 * numbers.length > filled.length) {
                numbers.sort((a, b) => sign * (a.number - b.number));
                sorted = numbers.concat(filled.filter((one) => Number.isNaN(one.number)));
            } else {
                sorted = filled.sort((a, b) => sign * words.compare(a.text, b.text));
            }
            // What was not measured is neither small nor large; nor is a word among numbers.
            const empty = keyed.filter((one) => one.text === "");
            body.append(...sorted.concat(empty).map((one) => one.row));
            say(`Sorted by ${name}, ${order}`);
        };
        Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
            const name = head.textContent;
            const button = make("button", { type: "button", title: "Sort" }, name);
            button.addEventListener("click", () => sortBy(column, head, name));
            head.replaceChildren(button);
        });

        // A few rows are seen at once.
        const title = box.querySelector("h2, h3, h4");
        const tools = make("div", { class: "tools" });
        table.parentElement.before(tools);
        if (rows.length < ROWS_TO_FILTER) {
            tools.append(said);
            return;
        }
        const id = `${box.id}-filter`;
        const input = make("input", { type: "search", id, autocomplete: "off", spellcheck: "false" });
        const texts = new Map(rows.map((row) =>
            [row, Array.from(row.cells, (cell) => cell.textContent).join("\n").toLowerCase()]));
        input.addEventListener("input", () => {
            const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
            let shown = 0;
            for (const row of rows) {
                row.hidden = !wanted.every((word) => texts.get(row).includes(word));
                if (!row.hidden) shown += 1;
            }
            say(wanted.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`);
        });
        const label = make("label", { for: id }, "Filter");
        input.setAttribute("aria-label", `Filter ${title ? title.textContent : "rows"}`);
        tools.append(label, input, said);
        say(`${rows.length} rows`);
    };

    // How far from a spot the pointer may be, in pixels of the screen.
    const REACH = 32;

    const enhanceChart = (figure) => {
        const drawing = figure.querySelector(".drawing");
        const svg = drawing && drawing.querySelector("svg");
        if (!svg) return;
        const lines = JSON.parse(figure.dataset.lines);
        const spots = JSON.parse(figure.dataset.spots).map(([x, y, series, ...said]) =>
            [x, y, series, said.map((line) => lines[line]).join("\n")]);
        const keys = JSON.parse(figure.dataset.keys);
        const width = Number(figure.dataset.width);
        const off = new Set();
        const dot = make("div", { class: "spot", hidden: "" });
        const tip = make("div", { class: "tip", role: "status", "aria-live": "polite", hidden: "" });
        figure.append(dot, tip);
        let here = -1;

        const scale = () => svg.getBoundingClientRect().width / width;
        const hide = () => {
            here = -1;
            dot.hidden = true;
            tip.hidden = true;
        };
        const show = (index) => {
            const [x, y, , text] = spots[index];
            const by = scale();
            here = index;
            dot.hidden = false;
            tip.hidden = false;
            if (tip.textContent !== text) tip.textContent = text;
            // On the figure, which does not scroll: a tip must not make the drawing longer.
            const [own, seen, frame] = [figure, drawing, svg].map((part) => part.getBoundingClientRect());
            const [left, top] = [frame.left - own.left + x * by, frame.top - own.top + y * by];
            dot.style.left = `${left}px`;
            dot.style.top = `${top}px`;
            // Beside the spot, where there is room within what is seen of the drawing.
            const [edge, end] = [seen.left - own.left, seen.right - own.left];
            const right = left + 14 + tip.offsetWidth > end;
            tip.style.left = `${Math.max(edge, right ? left - 14 - tip.offsetWidth : left + 14)}px`;
            const below = top + 10 + tip.offsetHeight > seen.bottom - own.top;
            tip.style.top = `${Math.max(0, below ? top - 10 - tip.offsetHeight : top + 10)}px`;
        };
        const nearest = (event) => {
            const frame = svg.getBoundingClientRect();
            const by = scale();
            const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
            let [best, least] = [-1, REACH * REACH];
            spots.forEach((spot, index) => {
                if (off.has(spot[2])) return;
                const distance = (spot[0] * by - x) ** 2 + (spot[1] * by - y) ** 2;
                if (distance < least) [best, least] = [index, distance];
            });
            return best;
        };
        const point = (event) => {
            const found = nearest(event);
            if (found < 0) hide();
            else if (found !== here) show(found);
        };
        svg.addEventListener("pointermove", point);
        svg.addEventListener("pointerdown", point);
        svg.addEventListener("pointerleave", hide);

        // By keyboard: through the values one by one, and from series to series.
        const visible = () => spots.map((_, index) => index).filter((index) => !off.has(spots[index][2]));
        const step = (by) => {
            const all = visible();
            const place = all.indexOf(here);
            return all[place < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, place + by))];
        };
        const otherSeries = (by) => {
            const all = visible();
            if (here < 0) return all[0];
            const series = [...new Set(all.map((index) => spots[index][2]))];
            const next = series[series.indexOf(spots[here][2]) + by];
            return next === undefined ? here : all.find((index) => spots[index][2] === next);
        };
        const moves = {
            ArrowRight: () => step(1),
            ArrowDown: () => step(1),
            ArrowLeft: () => step(-1),
            ArrowUp: () => step(-1),
            Home: () => visible()[0],
            End: () => visible().at(-1),
            PageDown: () => otherSeries(1),
            PageUp: () => otherSeries(-1),
        };
        drawing.addEventListener("keydown", (event) => {
            if (event.target !== drawing || event.ctrlKey || event.altKey || event.metaKey) return;
            if (event.key === "Escape") hide();
            const move = moves[event.key];
            if (!move || !spots.length) return;
            event.preventDefault();
            const index = move();
            if (index === undefined) return;
            const left = spots[index][0] * scale();
            if (left < drawing.scrollLeft || left > drawing.scrollLeft + drawing.clientWidth) {
                drawing.scrollLeft = left - drawing.clientWidth / 2;
            }
            show(index);
        });
        drawing.addEventListener("blur", hide);
        if (spots.length) {
            const name = figure.querySelector("h3, h4");
            drawing.setAttribute("aria-label", `${name ? name.textContent : "Chart"}: arrow keys read the values`);
            drawing.removeAttribute("aria-labelledby");
        }

        const entries = Array.from(svg.querySelectorAll("g.key"));
        if (!entries.length) return;
        // A picture has no buttons in it; a group has. What is not a button stays a picture.
        svg.setAttribute("role", "group");
        const hush = (parent) => {
            for (const child of parent.children) {
                if (child.matches("g.key")) continue;
                if (child.querySelector("g.key")) hush(child);
                else child.setAttribute("aria-hidden", "true");
            }
        };
        hush(svg);
        for (const entry of entries) {
            const series = Number(entry.dataset.series);
            entry.setAttribute("role", "button");
            entry.setAttribute("tabindex", "0");
            entry.setAttribute("aria-pressed", "true");
            entry.setAttribute("aria-label", `Show ${keys[series] ?? `series ${series + 1}`}`);
            // Between its sign and its name, too, there is something to click on.
            const box = entry.getBBox();
            const ground = document.createElementNS(svg.namespaceURI, "rect");
            for (const side of ["x", "y", "width", "height"]) ground.setAttribute(side, box[side]);
            ground.setAttribute("fill", "transparent");
            entry.prepend(ground);
            const toggle = () => {
                const hidden = !off.has(series);
                if (hidden) off.add(series);
                else off.delete(series);
                for (const group of svg.querySelectorAll("g.series")) {
                    if (Number(group.dataset.series) === series) group.classList.toggle("off", hidden);
                }
                for (const other of entries) {
                    if (Number(other.dataset.series) === series) other.setAttribute("aria-pressed", String(!hidden));
                }
                hide();
            };
            entry.addEventListener("click", toggle);
            entry.addEventListener("keydown", (event) => {
                if (event.key !== "Enter" && event.key !== " ") return;
                event.preventDefault();
                toggle();
            });
        }
    };

    document.querySelectorAll("section.table, details.data > .panel").forEach(enhanceTable);
    document.querySelectorAll("figure.chart").forEach(enhanceChart);
})();
