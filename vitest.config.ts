import { defineConfig } from 'vitest/config'

const source = ['@stathmos/source']
const base = { resolve: { conditions: source }, ssr: { resolve: { conditions: source } } }

export default defineConfig({
  test: {
    projects: [
      { ...base, test: { name: 'unit', include: ['packages/*/src/**/*.test.ts'] } },
      { ...base, test: { name: 'architecture', include: ['tests/architecture/**/*.test.ts'] } },
      { ...base, test: { name: 'conformance', include: ['tests/conformance/**/*.test.ts'], testTimeout: 20_000 } },
      { ...base, test: { name: 'simulation', include: ['tests/simulation/**/*.test.ts'], testTimeout: 120_000 } },
      { ...base, test: { name: 'fault', include: ['tests/fault/**/*.test.ts'], testTimeout: 300_000 } },
      { ...base, test: { name: 'interop', include: ['tests/interop/**/*.test.ts'], testTimeout: 120_000 } },
    ],
  },
})
