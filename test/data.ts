// Real volumes for tests and benches: a folder beside the project, or the one that DEQREG_DATA names. Never part of the project.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const dataFolder = resolve(process.env.DEQREG_DATA ?? '../shared/data');

/** The labels that count in the brain pairs: FreeSurfer's 30 structures that all subjects have. */
export const brainLabels = [
  2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 28, 31, 41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 60, 63,
];

export interface Case {
  name: string;
  fixed: string;
  moving: string;
  fixedSeg: string;
  movingSeg: string;
  labels?: number[];
  landmarks?: string;
}

const at = (...parts: string[]) => join(dataFolder, ...parts);
const brain = (fixed: string, moving: string): Case => ({
  name: `brain ${fixed}/${moving}`,
  fixed: at('brain', `${fixed}_t1.nii.gz`),
  moving: at('brain', `${moving}_t1.nii.gz`),
  fixedSeg: at('brain', `${fixed}_seg.nii.gz`),
  movingSeg: at('brain', `${moving}_seg.nii.gz`),
  labels: brainLabels,
});
const cardiac = (id: string): Case => ({
  name: `cardiac ${id}`,
  fixed: at('cardiac', `${id}_fixed.nii.gz`),
  moving: at('cardiac', `${id}_moving.nii.gz`),
  fixedSeg: at('cardiac', `${id}_fixed_seg.nii.gz`),
  movingSeg: at('cardiac', `${id}_moving_seg.nii.gz`),
});

/** Pairs by what the shipped brain model knows of their subjects: both were trained on, or one or both were not. */
export const brainGroups = (): Record<string, Case[]> =>
  Object.fromEntries(
    Object.entries({
      'training subjects': [brain('sub01', 'sub02'), brain('sub03', 'sub05'), brain('sub06', 'sub01')],
      'held-out subjects': [
        brain('subA', 'subB'),
        brain('sub03', 'sub08'),
        brain('sub08', 'sub01'),
        brain('sub02', 'sub09'),
        brain('sub08', 'sub09'),
      ],
    }).map(([group, cases]) => [group, cases.filter((c) => existsSync(c.fixed) && existsSync(c.moving))]),
  );

/** Every registration case of the data folder; empty where the folder is missing. */
export const realCases = (): Case[] =>
  [
    brain('subA', 'subB'),
    brain('sub01', 'sub02'),
    brain('sub03', 'sub08'),
    {
      name: 'lung',
      fixed: at('lung', 'fixed.nii.gz'),
      moving: at('lung', 'moving.nii.gz'),
      fixedSeg: at('lung', 'fixed_seg.nii.gz'),
      movingSeg: at('lung', 'moving_seg.nii.gz'),
      landmarks: at('lung', 'landmarks.csv'),
    },
    cardiac('A0S9V9'),
    cardiac('A1D0Q7'),
    cardiac('A1E9Q1'),
  ].filter((c) => existsSync(c.fixed) && existsSync(c.moving));
