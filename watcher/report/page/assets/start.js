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
for (const link of document.querySelectorAll(".short a[href^='#']")) link.addEventListener("click", () => document.getElementById("matrix-title").scrollIntoView());
// What opens beside the matrix leaves its filters as they are.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#program='], a[href^='#setting=']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const [name, value] = link.getAttribute("href").slice(1).split("=");
  go({ cell: "", program: "", setting: "", [name]: decodeURIComponent(value) });
});
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); if (stop) { stop.place.focus(); reveal(stop); } });
document.documentElement.dataset.ready = "true";
performance.mark("ready");
