function show() {
  filter();
  showDetails();
}

makeGrid();
makeFilters();
show();
// Back, forward, a link inside the page, an address typed by hand.
addEventListener("popstate", () => { state = readAddress(); show(); });
addEventListener("hashchange", () => { state = readAddress(); show(); });
for (const link of document.querySelectorAll(".short a")) link.addEventListener("click", () => document.getElementById("matrix-title").scrollIntoView());
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); if (stop) { stop.place.focus(); reveal(stop); } });
document.documentElement.dataset.ready = "true";
performance.mark("ready");
