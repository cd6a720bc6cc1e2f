// Imports everything that the SDK exports, where nothing is installed but what it depends on.
import { readFileSync } from 'node:fs'

const { exports } = JSON.parse(readFileSync('node_modules/@stathmos/sdk/package.json', 'utf8'))
for (const entry of Object.keys(exports)) {
  const names = Object.keys(await import(`@stathmos/sdk${entry.slice(1)}`))
  console.log(entry, names.length > 0)
}
