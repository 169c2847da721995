//! Hugging Face's side of a model: `config.json` read and written, and the names of parameters in files.

mod keys;
mod names;
mod read;
mod write;

pub(crate) use names::{Stored, needless, stored};

/// The `architectures` and `model_type` that are read, for refusals.
const KNOWN: &str = "LlamaForCausalLM (llama), MistralForCausalLM (mistral), Qwen2ForCausalLM (qwen2), \
     Qwen3ForCausalLM (qwen3), GPT2LMHeadModel (gpt2), BertModel and BertForSequenceClassification (bert), \
     RobertaModel and RobertaForSequenceClassification (roberta), XLMRobertaModel and \
     XLMRobertaForSequenceClassification (xlm-roberta)";

#[cfg(test)]
mod tests;
