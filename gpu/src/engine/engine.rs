//! The engine as others see it: opened over a model, it owns a thread that owns the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;

use super::batch::{Batch, needed};
use super::place::WeightSource;
use super::session::DecoderSession;
use super::worker::{Command, Counters, work};
use super::{DecoderParts, EngineOptions, Handle, Load, Plan, Request, admission};
use crate::models::{DecoderConfig, ModelConfig};
use crate::{Detokenizer, Device, Error, ModelFolder, Runtime};

/// Generates for many at once. Cheap to share behind an `Arc`; dropping it ends what is under way.
pub struct Engine {
    config: DecoderConfig,
    detokenizer: Option<Detokenizer>,
    plan: Plan,
    queue_max: usize,
    counters: Arc<Counters>,
    commands: Option<Sender<Command>>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    /// Plans the memory, then loads the model. Refused if it cannot fit, or its weights do not fit its config.
    pub fn open(runtime: &Runtime, parts: DecoderParts, options: EngineOptions) -> Result<Self, Error> {
        parts.weights.check(&parts.config)?;
        Self::open_from(runtime, &parts.config, parts.weights.as_ref(), parts.detokenizer, &options)
    }

    /// As `open`, from a folder: its numbers are in memory once, as the kernels want them, plus a piece on the way.
    pub fn open_folder(
        runtime: &Runtime,
        folder: &ModelFolder,
        detokenizer: Option<Detokenizer>,
        options: &EngineOptions,
    ) -> Result<Self, Error> {
        let ModelConfig::Decoder(config) = folder.config() else {
            let expected = "a decoder; an encoder embeds or scores texts, it does not generate";
            return Err(Error::invalid("model", folder.dir().display(), expected));
        };
        folder.check_numbers()?;
        Self::open_from(runtime, config, folder, detokenizer, options)
    }

    fn open_from(
        runtime: &Runtime,
        config: &DecoderConfig,
        source: &dyn WeightSource,
        detokenizer: Option<Detokenizer>,
        options: &EngineOptions,
    ) -> Result<Self, Error> {
        config.validate()?;
        options.validate()?;
        let options = match runtime.device() {
            Device::Cpu => &admission::within_system(options),
            Device::Cuda { .. } => options,
        };
        let (mut plan, chunk) = admission::plan(config, runtime.device(), options)?;
        let session = DecoderSession::open(runtime, config, source, options.quantise, (plan.slots, plan.context))?;
        plan.weight_bytes = session.weight_bytes();
        let counters = Arc::new(Counters::default());
        let (commands, received) = channel();
        let work_with = (detokenizer.clone(), counters.clone(), options.prefix_cache, runtime.threads());
        let worker = std::thread::Builder::new().name("cairn-engine".to_owned()).spawn(move || {
            let (detokenizer, counters, keeps, threads) = work_with;
            let batch = Batch::new(session, (plan, chunk), keeps, detokenizer, counters.clone(), threads);
            work(batch, &received, &counters);
        });
        let worker =
            worker.map_err(|error| Error::Failed { reason: format!("no thread could be started: {error}") })?;
        Ok(Self {
            config: config.clone(),
            detokenizer,
            plan,
            queue_max: options.queue_max,
            counters,
            commands: Some(commands),
            worker: Some(worker),
        })
    }

    /// Takes a request in. It is refused, before anything is spent on it, if its values mean nothing, if it can never
    /// fit, or if too many wait already.
    pub fn generate(&self, request: Request) -> Result<Handle, Error> {
        self.check(&request)?;
        self.queue()?;
        let (outputs, received) = channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let handle = Handle::new(received, cancelled.clone(), request.n);
        self.send(Command::Generate { request, outputs, cancelled })?;
        Ok(handle)
    }

    /// Logits after each of `tokens`, [tokens, vocabulary].
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        self.check_tokens("tokens", tokens, self.plan.context)?;
        self.queue()?;
        let (answer, received) = sync_channel(1);
        self.send(Command::Logits { tokens: tokens.to_vec(), answer })?;
        received.recv().map_err(|_| Error::Stopped)?
    }

    /// What `generate` would refuse in a request whatever is going on.
    pub fn check(&self, request: &Request) -> Result<(), Error> {
        request.validate()?;
        if !request.stop.is_empty() && self.detokenizer.is_none() {
            return Err(Error::invalid("stop", "texts", "none: the model has no tokenizer; use stop tokens"));
        }
        self.check_tokens("prompt", &request.prompt, self.plan.context - 1)?;
        // One answer always fits: its positions are cut to the context, and all positions are at least that many.
        debug_assert!(needed(&self.plan, request.prompt.len(), 1) <= self.plan.positions);
        Ok(())
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    pub fn detokenizer(&self) -> Option<&Detokenizer> {
        self.detokenizer.as_ref()
    }

    pub fn plan(&self) -> Plan {
        self.plan
    }

    pub fn load(&self) -> Load {
        Load {
            running: self.counters.running.load(Ordering::Relaxed),
            waiting: self.counters.waiting.load(Ordering::Relaxed),
            positions: self.counters.positions.load(Ordering::Relaxed),
        }
    }

    fn check_tokens(&self, key: &str, tokens: &[u32], most: usize) -> Result<(), Error> {
        if tokens.is_empty() || tokens.len() > most {
            let expected = format!("1 to {most} tokens (the context here is {})", self.plan.context);
            return Err(Error::invalid(key, format!("{} tokens", tokens.len()), expected));
        }
        match tokens.iter().find(|&&token| token as usize >= self.config.vocabulary) {
            Some(token) => {
                let expected = format!("tokens below the model's vocabulary ({})", self.config.vocabulary);
                Err(Error::invalid(key, format!("token {token}"), expected))
            }
            None => Ok(()),
        }
    }

    /// A place in the queue, or a refusal.
    fn queue(&self) -> Result<(), Error> {
        let place = |waiting: usize| (waiting < self.queue_max).then_some(waiting + 1);
        let taken = self.counters.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, place);
        taken.map(|_| ()).map_err(|waiting| Error::Busy { waiting })
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.as_ref().expect("there until dropped").send(command).map_err(|_| Error::Stopped)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(worker) = self.worker.take() {
            // A panic there was reported when it happened.
            let _ = worker.join();
        }
    }
}
