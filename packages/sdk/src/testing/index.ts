export { type Decide, type Fault, Faults, type Step } from './faults.ts'
export { injectStore } from './inject-store.ts'
export { injectTransport } from './inject-transport.ts'
export { type ManualClock, manualClock } from './manual-clock.ts'
