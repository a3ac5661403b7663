#!/usr/bin/env node
import { RefusedError, UserError } from '../migration/errors.js';
import { EXIT } from './options.js';
import { makeProgram } from './program.js';

const program = await makeProgram(process.argv[2]);
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof UserError || error instanceof RefusedError) {
    const text = error instanceof UserError ? error.toString() : error.message;
    process.stderr.write(`${text}\n`);
    process.exitCode = EXIT.refused;
  } else {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT.failed;
  }
}
