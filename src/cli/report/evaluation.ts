// evaluation.html: one self-contained page of all pairs and methods; its script (evaluation-page.ts) draws it.
import licence from 'uplot/LICENSE';
import type { Evaluation } from '../evaluation/content.ts';
import script from './evaluation-page.ts?bundle';
import { htmlPage } from './html.ts';

export interface EvaluationContent extends Evaluation {
  licence: string;
}

export function evaluationPage(evaluation: Evaluation): string {
  return htmlPage('deqreg evaluation', { ...evaluation, licence } satisfies EvaluationContent, script);
}
