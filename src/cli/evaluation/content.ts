// What evaluation.html is drawn from; evaluation.json is the same with all metrics of each run.
import type { AdapterInfo } from '../../gpu/device.ts';
import type { MethodMeans, Run } from './figures.ts';

export interface Evaluation<R extends Run = Run> {
  command: string;
  made: string;
  version: string;
  adapter: AdapterInfo;
  data: { path: string; name: string; split: string; pairs: number };
  methods: { name: string; options: Record<string, unknown> }[];
  means: MethodMeans[];
  runs: R[];
}
