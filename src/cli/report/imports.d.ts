// What build.mjs imports as text for the report: style sheets, a licence, and a browser script with all that it imports.
declare module '*.css' {
  const text: string;
  export default text;
}
declare module '*?bundle' {
  const script: string;
  export default script;
}
declare module 'uplot/LICENSE' {
  const text: string;
  export default text;
}
