// Airflow shows the page in a frame that may neither leave itself nor open a window: the page around it does that.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[target]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  outside.target = link.target;
  outside.rel = "noopener noreferrer";
  outside.click();
});
