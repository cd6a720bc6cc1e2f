// The load generators are in C, compiled when they are first needed.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The path of the program that `name`.c beside this file makes. */
export function compiled(name) {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url))
  const binary = fileURLToPath(new URL(`../../.cache/${name}`, import.meta.url))
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(dirname(binary), { recursive: true })
    execFileSync('gcc', ['-O2', '-Wall', '-Wno-unused-result', '-o', binary, source], { stdio: 'inherit' })
  }
  return binary
}
