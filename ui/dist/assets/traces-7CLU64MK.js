import{Ka as o}from"./chunk-KEWKIPKX.js";function t(){return o("div",{class:"page"})}export{t as default};
