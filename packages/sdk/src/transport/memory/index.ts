export { type Chaos, MemoryEngine, memoryEngine, type MemoryEngineOptions } from './memory-engine.ts'
export { MemoryTransport } from './memory-transport.ts'
