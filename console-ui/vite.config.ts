import { defineConfig } from "vite";

/** The page is served by src/console/page.ts from where this builds it to. */
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: "../dist/console/ui",
    emptyOutDir: true,
    target: "es2023",
    // light-dark() stays as it is written from here on.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The page's content security policy allows no data: but for images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
