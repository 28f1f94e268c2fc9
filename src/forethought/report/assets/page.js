const read = (id) => JSON.parse(document.getElementById(id).textContent);
const figures = new Map(read("figures").map((figure) => [figure.id, figure]));
const darkColours = read("dark");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
// On a touch screen a drag scrolls the page; a figure that zoomed instead would trap the finger.
const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";

const themed = (value, dark) => {
  if (typeof value === "string") return dark && Object.hasOwn(darkColours, value) ? darkColours[value] : value;
  if (Array.isArray(value)) return value.map((item) => themed(item, dark));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, dark)]));
};

function draw(place, dark) {
  const fail = (error) => {
    place.classList.add("broken");
    place.textContent = "This figure cannot be drawn: " + error;
  };
  const theme = dark ? "dark" : "light";
  try {
    if (place.dataset.theme === theme) return void Plotly.Plots.resize(place);
    place.dataset.theme = theme;
    const { data, layout } = themed(figures.get(place.id), dark);
    Plotly.react(place, data, { ...layout, dragmode }, {
      responsive: true, displaylogo: false, displayModeBar: layout.showlegend !== false,
      modeBarButtons: [["toImage", "resetScale2d"]],
    }).catch(fail);
  } catch (error) { fail(error); }
}

// What is folded away has no width yet: it is drawn when it is unfolded.
const drawVisible = (inside, dark) => {
  for (const place of inside.querySelectorAll(".plot")) if (!place.closest("details:not([open])")) draw(place, dark);
};
const unfold = (hash) => {
  for (let at = document.getElementById(hash.slice(1)); at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
};

document.addEventListener("toggle", (event) => drawVisible(event.target, prefersDark.matches), true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) unfold(link.hash);
});
prefersDark.addEventListener("change", () => drawVisible(document, prefersDark.matches));
addEventListener("beforeprint", () => drawVisible(document, false)); // paper is white
addEventListener("afterprint", () => drawVisible(document, prefersDark.matches));
unfold(location.hash);
drawVisible(document, prefersDark.matches);
