#!/usr/bin/env node
// A file that is there before anything is compiled: npm links no command to one that is missing.
await import('../dist/cli/main.js')
