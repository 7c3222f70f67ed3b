// What the playground builds again for every setting of constants: the rows, with the engine below them.
export { families } from './families.ts';
export { describe } from './rows.ts';
export { evaluate, measure } from './timing.ts';
