declare module "wasm:simd128" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "wasm:relaxed" {
  const module: WebAssembly.Module | undefined;
  export default module;
}

declare module "wasm:linear-simd128" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "wasm:linear-relaxed" {
  const module: WebAssembly.Module | undefined;
  export default module;
}
