// Reads {tex, display} a line, answers {html} or {error} a line. Started by ../mathml.py.
const fs = require("fs"), path = require("path");
const source = fs.readFileSync(path.join(__dirname, "temml.min.js"), "utf8");
const temml = new Function(source + "; return temml;")(); // the file is made for a page: it sets a global

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { tex, display } = JSON.parse(line);
  let answer;
  try {
    answer = { html: temml.renderToString(tex, { displayMode: display, throwOnError: true }) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
