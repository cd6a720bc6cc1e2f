import { defineConfig } from 'vitest/config'

const source = ['@stathmos/source']
const base = { resolve: { conditions: source }, ssr: { resolve: { conditions: source } } }

/** What does not end at all fails after this. No limit is a measurement: machines and their loads differ tenfold. */
const testTimeout = 60_000
const hookTimeout = 120_000

export default defineConfig({
  test: {
    projects: [
      { ...base, test: { name: 'unit', include: ['packages/*/src/**/*.test.ts'], testTimeout, hookTimeout } },
      {
        ...base,
        test: { name: 'architecture', include: ['tests/architecture/**/*.test.ts'], testTimeout, hookTimeout },
      },
      {
        ...base,
        test: { name: 'conformance', include: ['tests/conformance/**/*.test.ts'], testTimeout, hookTimeout },
      },
      {
        ...base,
        test: { name: 'simulation', include: ['tests/simulation/**/*.test.ts'], testTimeout: 120_000, hookTimeout },
      },
      { ...base, test: { name: 'fault', include: ['tests/fault/**/*.test.ts'], testTimeout: 300_000, hookTimeout } },
      {
        ...base,
        test: { name: 'stores', include: ['tests/stores/**/*.test.ts'], testTimeout, hookTimeout },
      },
      {
        ...base,
        test: { name: 'interop', include: ['tests/interop/**/*.test.ts'], testTimeout: 120_000, hookTimeout },
      },
    ],
  },
})
