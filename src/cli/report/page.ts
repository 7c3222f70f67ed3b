// The script of report.html: reads the JSON embedded in the page and draws it.
import { convergence } from './charts.ts';
import type { Content } from './content.ts';
import { credits, element } from './dom.ts';
import { decodeAll } from './slices.ts';
import { head, tables } from './tables.ts';
import { viewer } from './viewer.ts';

const content: Content = JSON.parse(document.getElementById('content')!.textContent);
document.title = `deqreg: ${content.report.inputs.moving} to ${content.report.inputs.fixed}`;
const [levels, drawCharts] = convergence(content.report);
const wait = element('section', {}, 'Unpacking the images …');
document.body.append(element('main', {}, head(content), wait, levels, ...tables(content), credits(content.licence)));
drawCharts();
decodeAll(content.pictures).then((volumes) => {
  wait.replaceWith(...viewer(content.pictures, volumes));
  document.body.dataset.state = 'ready';
});
