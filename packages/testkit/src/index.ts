export * from './memory-files.ts'
