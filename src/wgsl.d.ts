// A kernel is imported as its text: `import source from '../../kernels/warp.wgsl'`.
declare module '*.wgsl' {
  const source: string;
  export default source;
}
